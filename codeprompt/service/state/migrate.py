"""From whatever schema a file has to ours, by alembic; a newer one is refused.

Each migration and its mark are one transaction: killed inside, the file is as before.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from codeprompt.service.state.errors import StateError
from codeprompt.service.state.models import HEAD

MIGRATIONS = Path(__file__).with_name("migrations")


def upgrade(engine: Engine, path: Path) -> None:
    """Bring the file to `HEAD`. Raises `StateError` where a newer version wrote it."""
    with engine.execution_options(write=True).begin() as connection:
        found = current(connection)
        if found == HEAD:
            return  # alembic is not even imported
        if found is not None and found not in revisions():
            raise StateError(
                f"The state in {path} was written by a newer codeprompt (schema {found}, and this "
                f"version knows up to {HEAD})",
                do="Upgrade codeprompt (pip install --upgrade codeprompt), or give this version a "
                "folder of its own with CODEPROMPT_HOME",
            )
        _run(connection)


def current(connection: Connection) -> str | None:
    """The schema of a file, None of a new one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def revisions() -> set[str]:
    """Every schema that we can start from."""
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}


def _run(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
