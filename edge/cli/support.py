"""Shared by every command line of the project: errors as one line, and exit codes.

A command line is an app from `make_app`, with commands added, started by `run`.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from edge.errors import EmotionEdgeError

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as in shells."""
DEBUG_FLAG = "--debug"


def make_app(description: str) -> typer.Typer:
    """Return an empty command line that prints its help if no command is given."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(help=description)
    def shared(
        debug: Annotated[  # `run` removes it before the app sees it; this is for the help
            bool, typer.Option(DEBUG_FLAG, help="Show the traceback of an error. May stand anywhere.")
        ] = False,
    ) -> None:
        del debug

    return app


def echo_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    import msgspec

    typer.echo(msgspec.json.encode(value))


def run(app: typer.Typer, arguments: Sequence[str] | None = None, *, name: str | None = None) -> int:
    """Run a command line and return its exit code.

    An `EmotionEdgeError` becomes ``error: …`` on stderr and its own exit code, a wrong command line exit 2,
    Ctrl-C exit 130. A reader that went away (``| head``) ends the command silently. Any other exception becomes
    one line with exit 1. ``--debug`` adds the traceback to each.

    ``arguments``: without the program's name; defaults to the process's own.
    ``name``: how help and hints call the program, for example ``python -m train``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG_FLAG in given
    try:
        code = app([word for word in given if word != DEBUG_FLAG], standalone_mode=False, prog_name=name)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
        return 1
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost handler: a user reads one line, whatever broke
        if debug:
            traceback.print_exc()
        return _explain(error, debug=debug)
    return code if isinstance(code, int) else 0


def _explain(error: Exception, *, debug: bool) -> int:
    if isinstance(error, EmotionEdgeError):
        return _fail(str(error), error.exit_code)
    if hasattr(error, "format_message"):  # typer's own, whose class is public in no version
        return _explain_usage(error)
    if isinstance(error, OSError) and error.strerror:
        return _fail(f"{error.filename or 'input or output'}: {error.strerror}", 1)
    hint = "" if debug else f"; {DEBUG_FLAG} shows where"
    return _fail(f"unexpected {type(error).__name__}: {error}{hint}", 1)


def _explain_usage(error: Any) -> int:
    context = getattr(error, "ctx", None)
    message = error.format_message().strip()
    if type(error).__name__ == "NoArgsIsHelpError":
        if message:  # rich has already printed the help
            print(message, file=sys.stderr)
        return int(error.exit_code)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    return _fail(f"{message.rstrip('.')}{hint}", int(error.exit_code))


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def _discard_stdout() -> None:
    """Let Python flush to /dev/null at exit; it would complain about the closed pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
