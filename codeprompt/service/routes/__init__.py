"""The routes, a file for each kind; every one is a call of `Service` and little more."""

from __future__ import annotations

from fastapi import APIRouter

from codeprompt.service.routes import answers, health, jobs, packs, status

__all__ = ["routers"]


def routers() -> list[APIRouter]:
    """All of them, in the order of the OpenAPI document."""
    return [module.router for module in (answers, packs, jobs, status, health)]
