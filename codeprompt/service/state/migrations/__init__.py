"""Alembic's folder; it reads the files here by itself."""
