"""The console script `codeprompt-lsp`: a language server over standard input and output."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from codeprompt import __version__

LEVELS = ("debug", "info", "warning", "error")
DESCRIPTION = """The language server of codeprompt: summaries, documentation, warnings and
translations by small frozen models with tuned prompts. An editor starts it; it speaks LSP 3.18 over
standard input and output, and starts the shared engine when it is needed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve one editor, then end the process; nothing that still runs may hold it up."""
    parser = argparse.ArgumentParser(prog="codeprompt-lsp", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"codeprompt-lsp {__version__}")
    parser.add_argument("--stdio", action="store_true", help="the default, and the only way")
    parser.add_argument("--log-level", choices=LEVELS, default="warning", help="on standard error")
    parser.add_argument("--clientProcessId", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    from lsp_server.transport import own_stdio

    inward, outward = own_stdio()
    configure_logging(options.log_level)
    # httpx brings its command line along (click, rich, pygments: 5 MB) where it can be imported.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    from lsp_server.imports import quick

    with quick():
        from lsp_server.server import CodepromptServer

    code = asyncio.run(_serve(inward, outward, CodepromptServer))
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


async def _serve(inward: object, outward: object, make: type) -> int:
    server = make()
    code: int = await server.serve(inward, outward)
    return code


def configure_logging(level: str) -> None:
    """Our own lines on standard error; never those of pygls, which hold whole messages."""
    logging.basicConfig(
        stream=sys.stderr, level=level.upper(), format="%(levelname)s %(name)s: %(message)s"
    )
    for name in ("pygls", "httpx", "httpcore", "asyncio", "cattrs"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


if __name__ == "__main__":
    main()
