"""Runs ``emotion-edge doctor`` for the page, in a process of its own: it takes memory and seconds."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from edge.errors import EmotionEdgeError
from edge.settings import ENVIRONMENT_PREFIX

TIMEOUT_S = 90.0


class FindingShown(msgspec.Struct, frozen=True, kw_only=True):
    """One finding, as the doctor prints it."""

    check: str
    status: Literal["ok", "warning", "problem", "skipped"]
    found: str
    advice: str = ""
    symptom: str | None = None


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What the doctor prints with ``--json``."""

    ok: bool
    findings: list[FindingShown]


class Examination:
    """The doctor, with the settings of the running daemon.

    ``config``: the daemon's settings file; None: the system's.
    ``flags``: the daemon's flags, dotted key to text; None where one was not given.
    """

    def __init__(self, config: Path | None = None, flags: Mapping[str, str | None] | None = None) -> None:
        self._command = [sys.executable, "-m", "edge", "doctor", "--json", "--no-camera"]
        self._command += ["--config", str(config)] if config is not None else []
        given = {key: value for key, value in (flags or {}).items() if value is not None}
        self._environment = {
            ENVIRONMENT_PREFIX + key.upper().replace(".", "__"): value for key, value in given.items()
        }  # fmt: skip

    async def run(self) -> Findings:
        """Return the findings.

        Raises `EmotionEdgeError`: the doctor takes too long, or prints something else.
        """
        import asyncio  # here, as a daemon without the page starts faster without it

        process = await asyncio.create_subprocess_exec(
            *self._command,
            env=os.environ | self._environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(TIMEOUT_S):
                said, _ = await process.communicate()
        except TimeoutError:
            raise EmotionEdgeError(f"the doctor does not end within {TIMEOUT_S:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        try:
            return msgspec.json.decode(said, type=Findings)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise EmotionEdgeError(f"the doctor ended with exit code {process.returncode}: {error}") from error
