"""The language server: summaries, docstrings, warnings and translations where people work."""
