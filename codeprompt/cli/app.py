"""The `codeprompt` command: finds its subcommands by file, and turns errors into an exit status."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from codeprompt import __version__
from codeprompt.errors import CodepromptError, UnknownNameError
from codeprompt.registry import Registry

COMMANDS = Registry("codeprompt.cli", "COMMAND", "command")
DEBUG = "CODEPROMPT_DEBUG"
MISTAKE, INTERRUPTED, FAULT = 2, 130, 1


class App(click.Group):
    """A group whose commands are imported only when they run or show their help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return COMMANDS.names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS.names():
            return None
        command = COMMANDS.get(cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        known = COMMANDS.names()
        if name not in ("", *known) and not name.startswith("-") and not ctx.resilient_parsing:
            raise UnknownNameError("command", name, known)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The summaries are read as text, so that help imports no command."""
        rows = [(name, COMMANDS.summary(name)) for name in COMMANDS.names()]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Commands with their summaries; none is imported."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=COMMANDS.summary(name))
            for name in COMMANDS.names()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        name = prog_name or "codeprompt"
        if not standalone_mode:
            return super().main(args, name, complete_var, standalone_mode=False, **extra)
        try:
            found = super().main(args, name, complete_var, standalone_mode=False, **extra)
            sys.stdout.flush()
        except CodepromptError as error:
            _leave(str(error), MISTAKE, error)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(MISTAKE)
        except click.UsageError as error:
            _leave(_usage(error), MISTAKE, error)
        except click.ClickException as error:
            _leave(error.format_message(), MISTAKE, error)
        except (click.Abort, KeyboardInterrupt):
            click.echo("Interrupted.", err=True)
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            _quiet()
            sys.exit(FAULT)
        except Exception as error:
            if os.environ.get(DEBUG):
                raise
            _leave(
                f"codeprompt met an error it did not expect: {type(error).__name__}: {error} "
                f"(set {DEBUG}=1 and run it again for the traceback; please report it)",
                FAULT,
                error,
            )
        sys.exit(found if isinstance(found, int) else 0)


def _usage(error: click.UsageError) -> str:
    """Click's message, then where the help is, in one paragraph."""
    message = " ".join(error.format_message().split())
    if error.ctx is None:
        return message
    return f"{message} See '{error.ctx.command_path} --help'."


def _leave(message: str, status: int, error: Exception) -> NoReturn:
    if os.environ.get(DEBUG):
        import traceback

        traceback.print_exception(error)
    paragraph = " ".join(message.split()) or type(error).__name__
    click.echo(f"Error: {paragraph}".encode("utf-8", "backslashreplace"), err=True)
    sys.exit(status)


def _quiet() -> None:
    """The reader has gone: let nothing more be written when Python flushes at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(
    "codeprompt",
    cls=App,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`codeprompt COMMAND --help` shows a command's options with examples.",
)
@click.version_option(__version__, "-V", "--version", prog_name="codeprompt")
def APP() -> None:
    """Tuned prompts of a few kilobytes that make small frozen code models useful."""
