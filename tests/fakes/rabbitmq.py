"""Real RabbitMQ nodes on loopback with their MQTT plugin: one, or a cluster; each has a folder of its own."""

import os
import secrets
import signal
import subprocess
import time
from pathlib import Path

import psutil

from tests.fakes.mosquitto import free_port

_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one in the PATH wants to be the user rabbitmq
_START_S = 300


def missing() -> str | None:
    """Return what is missing to run RabbitMQ here, or None."""
    return None if _SERVER.exists() else "needs rabbitmq-server on this machine (apt install rabbitmq-server)"


class RabbitMQ:
    """One node, started by `start`; further nodes name the others' ``node`` in ``peers`` and join them.

    Anybody may log in unless ``anonymous`` is False. Sessions that are kept are quorum queues: they survive the death
    of a node of three.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        peers: tuple[str, ...] = (),
        epmd_port: int,
        cookie: str,
        anonymous: bool = True,
    ) -> None:
        self.node = f"{name}@localhost"
        self.port = free_port()
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self.log = self.folder / "stdout"
        self._process: subprocess.Popen[bytes] | None = None
        peer_lines = [
            f"cluster_formation.classic_config.nodes.{number} = {peer}" for number, peer in enumerate(peers, 1)
        ]
        (self.folder / "rabbitmq.conf").write_text("\n".join([
            "listeners.tcp = none",
            f"mqtt.listeners.tcp.1 = 127.0.0.1:{self.port}",
            f"mqtt.allow_anonymous = {str(anonymous).lower()}",
            "mqtt.exchange = amq.topic",
            "mqtt.prefetch = 1000",
            "mqtt.durable_queue_type = quorum",
            "mqtt.subscription_ttl = 86400000",
            "loopback_users = none",
            "log.console.level = warning",
            *(["cluster_formation.peer_discovery_backend = classic_config", *peer_lines] if peers else []),
        ]) + "\n")  # fmt: skip
        (self.folder / "enabled_plugins").write_text("[rabbitmq_mqtt].\n")
        cookie_file = self.folder / ".erlang.cookie"
        cookie_file.write_text(cookie)
        cookie_file.chmod(0o400)
        dist_port = free_port()
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "RABBITMQ_NODENAME": self.node, "LANG": "C.UTF-8",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"), "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"), "RABBITMQ_DIST_PORT": str(dist_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"), "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
            "RABBITMQ_CONF_ENV_FILE": "/nonexistent",
        }  # fmt: skip

    @property
    def control(self) -> str:
        """The command line that stands for ``rabbitmqctl``, in ``environment``."""
        return f"{_SERVER.with_name('rabbitmqctl')} -n {self.node}"

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def launch(self) -> None:
        """Start it without waiting for it: nodes of a new cluster wait for each other."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([str(_SERVER)], env=self.environment, stdout=log, stderr=log,
                                             start_new_session=True)  # fmt: skip

    def wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_S
        while not self._listens():
            assert self._process.poll() is None, self.log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, self.log.read_text(errors="replace")[-3000:]
            time.sleep(0.2)  # there is no way to wait for a listening socket

    def start(self) -> None:
        self.launch()
        self.wait()

    def kill(self) -> None:
        """Kill the node (-9): the shell script's process group, in which the virtual machine runs."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def stop(self) -> None:
        """Stop it properly: the virtual machine saves all and ends."""
        for one in self.processes():
            if one.name() == "beam.smp":
                one.terminate()
        assert self._process is not None
        self._process.wait(60)
        self._process = None

    def processes(self) -> list[psutil.Process]:
        """Return the running processes of this node."""
        if self._process is None:
            return []
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]

    def _listens(self) -> bool:
        import socket

        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Cluster:
    """Nodes that know each other, with a port mapper (epmd) of their own that ends with them."""

    def __init__(self, folder: Path, number: int, *, anonymous: bool = True) -> None:
        self._epmd_port = free_port()
        names = [f"n{index}x{self._epmd_port}" for index in range(number)]
        peers = tuple(f"{name}@localhost" for name in names) if number > 1 else ()
        cookie = secrets.token_hex(16)
        self.nodes = [
            RabbitMQ(folder, name, peers=peers, epmd_port=self._epmd_port, cookie=cookie, anonymous=anonymous)
            for name in names
        ]
        self._epmd: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Cluster":
        command = ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"]
        self._epmd = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.nodes[0].start()  # the first makes the cluster, the others join it
            for node in self.nodes[1:]:
                node.launch()
            for node in self.nodes[1:]:
                node.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
