"""What alembic runs: migrations in the transaction of the connection that `migrate` gives.

To write a new one, in a checkout: change `models`, add `versions/vNNNN_what.py`, set `HEAD`.
"""

from __future__ import annotations

from alembic import context

from codeprompt.service.state.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
)
context.run_migrations()
