"""codeprompt: tuned prompts of a few kilobytes that make small frozen code models useful."""

__version__ = "0.1.0"
