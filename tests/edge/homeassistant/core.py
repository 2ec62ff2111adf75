"""A real Home Assistant on loopback, with an MQTT config entry; what a person does in its pages goes over its APIs."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from tests.fakes.mosquitto import Mosquitto, free_port

COMMAND = "EMOTION_EDGE_HASS"
"""Environment variable: how Home Assistant is started, such as ``/opt/bin/hass`` or ``chroot ROOT /opt/bin/hass``."""
START_S, WAIT_S = 300.0, 90.0

_CONFIGURATION = """
homeassistant:
  name: Home
  unit_system: metric
  time_zone: UTC
http:
  server_host: 127.0.0.1
  server_port: {port}
  # so that a test is not locked out
  ip_ban_enabled: false
api:
config:
frontend:
history:
recorder:
  commit_interval: 1
counter:
automation: !include automations.yaml
logger:
  default: info
"""


def root_of(command: list[str]) -> Path:
    """Return the folder that Home Assistant sees as ``/``."""
    return Path(command[1]) if command[0] == "chroot" else Path("/")


class HomeAssistant:
    """One Home Assistant core, with its folder of settings."""

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)
        self._root = root_of(self._command)
        self.folder = Path(tempfile.mkdtemp(prefix="home-", dir=self._root / "tmp"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (self.folder / "configuration.yaml").write_text(_CONFIGURATION.format(port=self.port))
        (self.folder / "automations.yaml").write_text("[]\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.token = ""
        self.version = ""

    def start(self) -> None:
        inside = Path("/") / self.folder.relative_to(self._root)
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [*self._command, "-c", str(inside), "--skip-pip-packages", "pyspeex-noise,pymicro-vad"],
                stdout=output, stderr=output, env={**os.environ, "PYTHONPATH": "", "HOME": str(inside)},
            )  # fmt: skip
        self.wait(self._is_running, START_S)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(120)
            self._process = None

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def set_up(self, broker: Mosquitto, username: str) -> None:
        """Make the first user, and add the MQTT integration as in its dialogue."""
        owner = {"name": "Test", "username": "test", "password": "test-test", "language": "en"}
        made = self.post("/api/onboarding/users", {"client_id": self.url, **owner})
        form = {"grant_type": "authorization_code", "code": made["auth_code"], "client_id": self.url}
        self.tokens = self._send("/auth/token", urllib.parse.urlencode(form).encode())
        self.token = self.tokens["access_token"]
        self.version = self.get("/api/config")["version"]
        flow = self.post("/api/config/config_entries/flow", {"handler": "mqtt", "show_advanced_options": False})
        if flow["type"] == "menu":
            flow = self.post(f"/api/config/config_entries/flow/{flow['flow_id']}", {"next_step_id": "broker"})
        login: dict[str, Any] = {
            "broker": "127.0.0.1",
            "port": broker.port,
            "username": username,
            "password": broker.password,
        }
        for section in flow["data_schema"]:
            if section.get("type") == "expandable":  # newer versions fold the rest away
                rest = {field["name"]: field["default"] for field in section["schema"] if "default" in field}
                login[section["name"]] = rest | {"set_client_cert": False, "set_ca_cert": "off"}
        done = self.post(f"/api/config/config_entries/flow/{flow['flow_id']}", login)
        assert done["type"] == "create_entry", done
        self.entry = done["result"]["entry_id"]
        self.wait(self._is_running, START_S)  # its pages answer before it has started; a stop before that saves nothing

    def get(self, path: str) -> Any:
        return self._send(path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._send(path, json.dumps(body).encode(), kind="application/json")

    def _send(self, path: str, body: bytes | None, kind: str = "application/x-www-form-urlencoded") -> Any:
        headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        request = urllib.request.Request(f"{self.url}{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                error.add_note(error.read().decode(errors="replace"))
            raise

    def ask(self, kind: str, **more: Any) -> Any:
        """Send one command over the WebSocket API and return its result."""
        with connect(f"{self.url.replace('http', 'ws')}/api/websocket", max_size=None) as socket:
            socket.recv()
            socket.send(json.dumps({"type": "auth", "access_token": self.token}))
            assert json.loads(socket.recv())["type"] == "auth_ok"
            socket.send(json.dumps({"id": 1, "type": kind, **more}))
            answer = json.loads(socket.recv())
        assert answer["success"], answer
        return answer["result"]

    def call(self, service: str, **data: Any) -> None:
        domain, name = service.split(".")
        self.post(f"/api/services/{domain}/{name}", data)

    def automate(self, name: str, trigger: dict[str, Any], counter: str) -> None:
        """Add an automation as its editor does; it counts how often it fires, in a ``counter``."""
        self.ask("counter/create", name=counter)
        action = [{"service": "counter.increment", "target": {"entity_id": f"counter.{counter}"}}]
        body = {"alias": name, "trigger": [trigger], "action": action, "mode": "queued", "max": 100}
        self.post(f"/api/config/automation/config/{counter}", body)

    def fired(self, counter: str) -> int:
        return int(self.state(f"counter.{counter}")["state"])

    def device(self, name: str) -> dict[str, Any] | None:
        """Return the device that has an identifier, from the registry."""
        found = [
            device for device in self.ask("config/device_registry/list") if ["mqtt", name] in device["identifiers"]
        ]
        return found[0] if found else None

    def entities(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the registry's entries of a device, by the key of the discovery message."""
        entries = self.ask("config/entity_registry/list")
        return {
            entry["unique_id"].removeprefix(f"{name}-"): entry
            for entry in entries if entry["platform"] == "mqtt" and entry["unique_id"].startswith(f"{name}-")
        }  # fmt: skip

    def state(self, entity: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self.get(f"/api/states/{entity}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return {"state": "missing", "attributes": {}}
        return found

    def warnings(self) -> list[str]:
        """Return the warnings and errors in its log that are about MQTT or about us."""
        log = (self.folder / "home-assistant.log").read_text(errors="replace")
        old = self.folder / "home-assistant.log.1"
        lines = (old.read_text(errors="replace") if old.exists() else "").splitlines() + log.splitlines()
        return [
            line for line in lines
            if re.search(r" (WARNING|ERROR) .*(mqtt|emotion)", line, re.IGNORECASE) and "recorder" not in line
        ]  # fmt: skip

    def wait(self, done: Callable[[], object], timeout_s: float = WAIT_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            assert self._process is None or self._process.poll() is None, f"Home Assistant has ended: {self.output()}"
            assert time.monotonic() < deadline, f"not in {timeout_s:.0f} s: {self.output()}"
            time.sleep(0.1)  # its APIs are asked

    def output(self) -> str:
        """Return the end of what it has printed."""
        return (self.folder / "output").read_text(errors="replace")[-2000:]

    def _is_running(self) -> bool:
        try:
            if not self.token:
                return bool(self.get("/api/onboarding"))
            return bool(self.get("/api/config")["state"] == "RUNNING")
        except OSError:
            return False
