"""A TCP proxy on loopback: a link between device and broker that a test can break."""

import contextlib
import socket
import struct
import threading
import time
from typing import Literal

Mode = Literal["open", "cut", "blackhole", "slow", "reset"]
SLOW_BYTES_PER_S = 1000
_STEP_S = 0.02
_RST_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER, on, 0 s: close sends RST


class Proxy:
    """Forwards connections to the broker according to `mode`, which may be changed at any time.

    ``cut`` closes all connections and refuses new ones; ``blackhole`` keeps them open but forwards nothing; ``slow``
    forwards 1000 bytes a second each way; ``reset`` ends each connection by RST in the middle of a message.
    """

    def __init__(self, broker_port: int) -> None:
        self.mode: Mode = "open"
        self.connections = self.resets = 0
        self._broker_port = broker_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_STEP_S)
        self.port = int(self._listener.getsockname()[1])
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Proxy":
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _begin(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            if self.mode == "cut":
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._broker_port), 5)
            except OSError:
                near.close()
                continue
            self.connections += 1
            over = threading.Event()
            self._begin(self._pump, near, far, over)
            self._begin(self._pump, far, near, over)

    def _pump(self, source: socket.socket, sink: socket.socket, over: threading.Event) -> None:
        with contextlib.suppress(OSError):  # the other direction may have closed both
            source.settimeout(_STEP_S)
            while not (self._ended.is_set() or over.is_set() or self.mode == "cut"):
                if self.mode == "blackhole":
                    time.sleep(_STEP_S)
                    continue
                try:
                    data = source.recv(32 if self.mode == "slow" else 4096)
                except TimeoutError:
                    continue
                if not data:
                    break
                if self.mode == "slow":
                    time.sleep(len(data) / SLOW_BYTES_PER_S)
                if self.mode == "reset" and len(data) > 40:  # an event, not a ping or an acknowledgement
                    sink.sendall(data[: len(data) // 2])
                    self.resets += 1
                    for side in (source, sink):
                        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
                    break
                sink.settimeout(None)
                sink.sendall(data)
        over.set()
        source.close()
        sink.close()
