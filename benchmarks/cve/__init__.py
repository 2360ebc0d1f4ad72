"""Vulnerable functions of C projects with the lines that their fixes changed, from Debian."""
