"""A real mosquitto on loopback that tests start, stop and kill; with password, persistence and optionally TLS."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

import msgspec

from edge.settings import MqttSettings


def find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def missing() -> str | None:
    """Return what is missing to run mosquitto here, or None."""
    absent = [name for name in ("mosquitto", "mosquitto_passwd", "openssl") if find(name) is None]
    return f"needs {' and '.join(absent)} on this machine" if absent else None


class Mosquitto:
    """One broker. Its port, files and stored messages survive `stop` and `kill`; `start` runs it again.

    ``write_acl`` lists the topic filters that the user may write (None: all); everything may be read.
    """

    username = "camera"
    password = "correct horse battery"

    def __init__(
        self,
        folder: Path,
        *,
        tls: bool = False,
        write_acl: list[str] | None = None,
        anonymous: bool = False,
        days: int = 30,
        client_certificates: bool = False,
        autosave: bool = True,
        websockets: bool = False,
    ) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tls = tls
        self._days = days
        self._autosave = autosave
        self._client_certificates = client_certificates
        self._anonymous = anonymous
        self.port = free_port()
        self.websocket_port = free_port() if websockets else 0
        self.log = folder / "mosquitto.log"
        self.ca_file = folder / "ca.pem"
        self._process: subprocess.Popen[bytes] | None = None
        self._write_files(write_acl)

    @property
    def url(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://localhost:{self.port}"

    @property
    def websocket_url(self) -> str:
        return f"{'wss' if self.tls else 'ws'}://localhost:{self.websocket_port}"

    def settings(self, **changes: str) -> MqttSettings:
        """Return settings with which a login succeeds; the password file has mode 0600."""
        given = {
            "url": self.url,
            "username": self.username,
            "password_file": str(self.password_file(self.password)),
            "ca_file": str(self.ca_file) if self.tls else "",
        }
        return msgspec.convert({**given, **changes}, MqttSettings)

    def password_file(self, password: str) -> Path:
        path = self.folder / f"password-{abs(hash(password))}"
        path.write_text(password)
        path.chmod(0o600)
        return path

    def add_user(self, name: str) -> None:
        """Add a user with the same password; before `start`."""
        self._passwd("-b", str(self.folder / "users"), name, self.password)

    def limit(self, acl: str, *users: str) -> None:
        """Add users with the same password, and the access list ``acl`` for all; before `start`."""
        (self.folder / "acl").write_text(acl)
        with (self.folder / "mosquitto.conf").open("a") as conf:
            conf.write(f"acl_file {self.folder}/acl\n")
        for user in users:
            self.add_user(user)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(find("mosquitto")), "-v", "-c", str(self.folder / "mosquitto.conf")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 10
        while not all(_listens(port) for port in (self.port, self.websocket_port) if port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mosquitto did not start: {self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.01)  # there is no way to wait for a listening socket

    def stop(self) -> None:
        """Stop it properly: it saves sessions and messages to disk."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it: it saves nothing."""
        self._end(signal.SIGKILL)

    def save(self) -> None:
        """Make it save sessions and messages to disk now (mosquitto(8), SIGUSR1)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 10
        while not (self.folder / "mosquitto.db").exists() and time.monotonic() < deadline:
            time.sleep(0.01)  # only the file shows that it has saved

    def pause(self) -> None:
        """Freeze it: connections stay open, but it does not answer."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> "Mosquitto":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(signal.SIGKILL)

    def _passwd(self, *arguments: str) -> None:
        subprocess.run([str(find("mosquitto_passwd")), *arguments], check=True, capture_output=True)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.wait(timeout=10)
        self._process = None

    def _write_files(self, write_acl: list[str] | None) -> None:
        users = self.folder / "users"
        self._passwd("-b", "-c", str(users), self.username, self.password)
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"allow_anonymous {str(self._anonymous).lower()}",
            f"password_file {users}",
            "persistence true",
            f"persistence_location {self.folder}/",
            *(["autosave_on_changes true", "autosave_interval 1"] if self._autosave else ["autosave_interval 0"]),
        ]
        if os.getuid() == 0:  # otherwise it drops root and cannot read the test's folder
            lines.append("user root")
        if write_acl is not None:
            acl = self.folder / "acl"
            acl.write_text(
                "\n".join([f"user {self.username}", "topic read #", *(f"topic write {t}" for t in write_acl)])
            )
            lines.append(f"acl_file {acl}")
        tls: list[str] = []
        if self.tls:
            make_certificates(self.folder, days=self._days)
            tls = [f"certfile {self.folder}/server.pem", f"keyfile {self.folder}/server.key"]
            if self._client_certificates:
                tls += [f"cafile {self.ca_file}", "require_certificate true"]
        lines += tls
        if self.websocket_port:  # what follows belongs to this listener
            lines += [f"listener {self.websocket_port} 127.0.0.1", "protocol websockets", *tls]
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")


def make_certificates(folder: Path, *, host: str = "localhost", days: int = 30) -> None:
    """Make ``ca.pem``, and for ``host`` ``server.pem`` and ``server.key``, signed by it and valid for ``days`` days."""
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    usage = "keyUsage=critical,keyCertSign,cRLSign"  # Python 3.13 requires it of an authority
    extensions = folder / "server.ext"
    extensions.write_text(f"subjectAltName=DNS:{host}\nauthorityKeyIdentifier=keyid\n")
    for arguments in (
        ["req", "-x509", *new, "-subj", "/CN=test authority", "-addext", usage, "-keyout", "ca.key", "-out", "ca.pem"],
        ["req", *new[:-2], "-subj", f"/CN={host}", "-keyout", "server.key", "-out", "server.csr"],
        [
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-days",
            str(days),
            "-extfile",
            "server.ext",
            "-out",
            "server.pem",
            *signed,
        ],
    ):
        subprocess.run([str(find("openssl")), *arguments], cwd=folder, check=True, capture_output=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
