"""What is left of a batch's prompts once some of it has joined the caches."""

from __future__ import annotations

from dataclasses import replace

from codeprompt.inject.parts import Site
from codeprompt.inject.rows import Injected


def without(injected: Injected, *sites: Site) -> Injected:
    """The same prompts without the columns of these sites."""
    if not injected.sites:
        return injected
    left = {site: rows for site, rows in injected.sites.items() if site not in sites}
    return replace(injected, sites=left)
