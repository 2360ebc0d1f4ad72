"""Changes of code that change no meaning: one file each (`TRANSFORM`)."""
