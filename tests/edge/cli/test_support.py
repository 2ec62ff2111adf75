"""What a command line does when something goes wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from edge.cli.support import make_app, run
from edge.errors import CameraError

ROOT = Path(__file__).resolve().parents[3]


def failing(error: BaseException) -> typer.Typer:
    app = make_app("Made for a test.")

    @app.command()
    def fail() -> None:
        raise error

    @app.command()
    def other() -> None: ...

    return app


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CameraError("no such camera"), 69, "error: no such camera"),
        (KeyboardInterrupt(), 130, ""),
        (PermissionError(13, "Permission denied", "/x"), 1, "error: /x: Permission denied"),
        (ZeroDivisionError("by zero"), 1, "error: unexpected ZeroDivisionError: by zero; --debug shows where"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(failing(error), ["fail"]) == code
    assert capsys.readouterr().err.strip() == said


def test_an_exit_code_that_a_command_chose_is_kept() -> None:
    assert run(failing(typer.Exit(3)), ["fail"]) == 3
    assert run(failing(typer.Exit(3)), ["other"]) == 0


def test_debug_shows_the_traceback_wherever_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--debug", "fail"], ["fail", "--debug"]):
        assert run(failing(CameraError("gone")), arguments) == 69
        told = capsys.readouterr().err
        assert "Traceback" in told
        assert told.strip().endswith("error: gone")


def test_no_command_is_help_and_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(failing(CameraError("gone")), []) == 2
    assert "Made for a test." in capsys.readouterr().out


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    script = (
        "import sys; from edge.cli.support import make_app, run\n"
        "app = make_app('x')\n"
        "@app.command()\ndef many():\n    [print('y' * 1000) for _ in range(10000)]\n"
        "@app.command()\ndef other(): pass\n"
        "sys.exit(run(app, ['many']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
