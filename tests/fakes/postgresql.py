"""A real PostgreSQL on loopback that tests start, kill and restart; its cluster is made anew in a temporary folder."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from tests.fakes.mosquitto import find, free_port

_USER = "postgres"


def _program(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))  # Debian keeps them out of the PATH
    return str(found[-1]) if found else find(name)


def missing() -> str | None:
    """Return what is missing to run PostgreSQL here, or None."""
    absent = [name for name in ("postgres", "initdb") if _program(name) is None]
    if absent:
        return f"needs {' and '.join(absent)} on this machine (apt install postgresql)"
    if os.geteuid() == 0 and not any(entry.pw_name == _USER for entry in pwd.getpwall()):
        return f"PostgreSQL refuses to run as root, and there is no user {_USER}"
    return None


class PostgreSQL:
    """One server. Its port and data survive `kill`; `start` runs it again."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="emotion-edge-postgresql-"))
        # It refuses to run as root.
        self._as: dict[str, str] = {"user": _USER, "group": _USER} if os.geteuid() == 0 else {}
        if self._as:
            shutil.chown(self._folder, _USER, _USER)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._run(
            "initdb", "-D", str(self._data), "-U", "record", "-A", "trust", "--no-sync", "--locale=C", "-E", "UTF8"
        )

    @property
    def url(self) -> str:
        return f"postgresql://record@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            with (self._folder / "log").open("ab") as log:
                options = ["shared_buffers=16MB", "listen_addresses=127.0.0.1", "unix_socket_directories="]
                command = [str(_program("postgres")), "-D", str(self._data), "-p", str(self.port)]
                command += [word for option in options for word in ("-c", option)]
                self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder, **self._as)  # type: ignore[call-overload]
            while self._process.poll() is None:
                if self._accepts():
                    return
                assert time.monotonic() < deadline, self.log
                time.sleep(0.02)  # there is no way to wait for a server that recovers
            assert time.monotonic() < deadline, self.log  # after a kill its children may still hold the memory
            time.sleep(0.1)

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it at once, but let it end its children."""
        self._end(signal.SIGINT)

    def __enter__(self) -> "PostgreSQL":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(signal.SIGQUIT)
        shutil.rmtree(self._folder)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _accepts(self) -> bool:
        import psycopg

        try:
            with psycopg.connect(self.url, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(_program(program)), *arguments]
        done = subprocess.run(command, capture_output=True, cwd=self._folder, check=False, **self._as)  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr.decode()

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=30)
            self._process = None
