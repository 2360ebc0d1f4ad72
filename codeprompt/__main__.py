"""`python -m codeprompt` is the command line."""

from codeprompt.cli import main

if __name__ == "__main__":
    main()
