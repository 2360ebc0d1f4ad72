"""The tables. Moments are seconds since the epoch; what a job was asked for is JSON text.

A change here needs a migration beside it (`migrations/versions`); a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import Float, ForeignKey, ForeignKeyConstraint, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

HEAD = "0001"
"""The newest migration; the schema of this version."""


class Base(DeclarativeBase):
    """Names of constraints are fixed, so that migrations can speak of them."""

    type_annotation_map = {float: Float()}  # noqa: RUF012  # SQLAlchemy's own name
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class PackRow(Base):
    """A name. active: the version that answers, None where none does."""

    __tablename__ = "packs"

    name: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str]
    active: Mapped[str | None]


class VersionRow(Base):
    """A version of a pack; its files stand in `packs/NAME/VERSION`.

    version: the first 12 digits of `hash`, which is the card's own over card and tensors.
    created: the date on the card. added: when it came here. source: `upload` or `job:ID`.
    """

    __tablename__ = "pack_versions"

    name: Mapped[str] = mapped_column(ForeignKey("packs.name"), primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    hash: Mapped[str]
    method: Mapped[str]
    backbone: Mapped[str]
    backbone_hash: Mapped[str]
    created: Mapped[str]
    added: Mapped[float]
    bytes: Mapped[int]
    source: Mapped[str]
    retired: Mapped[bool]


class ActivationRow(Base):
    """That a version was made active. undone: it was rolled back, or its version retired."""

    __tablename__ = "activations"
    __table_args__ = (
        ForeignKeyConstraint(["name", "version"], ["pack_versions.name", "pack_versions.version"]),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(index=True)
    version: Mapped[str]
    at: Mapped[float]
    undone: Mapped[bool]


class DatasetRow(Base):
    """Data that was uploaded; it stands in `uploads/ID.jsonl`. fingerprint: sha256 of the bytes."""

    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    rows: Mapped[int]
    bytes: Mapped[int]
    created: Mapped[float]


class JobRow(Base):
    """A tuning job.

    status: `queued`, `running` (also while no engine runs: the next one goes on with it), `done`,
    `failed` or `cancelled`. cores: part of what decides the numbers, so a resumed job keeps it.
    fingerprint: of the rows it trained on, from the card.
    """

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(index=True)
    spec: Mapped[str]
    cores: Mapped[int]
    created: Mapped[float]
    started: Mapped[float | None]
    ended: Mapped[float | None]
    attempts: Mapped[int]
    error: Mapped[str | None]
    version: Mapped[str | None]
    fingerprint: Mapped[str | None]
