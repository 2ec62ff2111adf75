"""paho-mqtt's client, held to one connection: its thread ends with it and says why."""

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from edge.mqtt.reasons import Ending, of_error

MOST_PACKET_BYTES = 4096
"""The longest packet that is taken in. A broker that speaks MQTT 5 is asked to send none, any other may."""
STUCK_S = 30.0
"""paho's thread turns once a second; after so many without a turn it does not work any more"""


class OneConnection(paho.Client):
    """paho's client, whose thread ends with the connection and says why.

    paho's own loop retries for ever, with no jitter, and keeps the error to itself. It would also collect a packet of
    any length, up to 256 MB.

    Parameters
    ----------
    on_too_long
        Told that a message ends the connection, because it is longer than `MOST_PACKET_BYTES`; nothing of it is read.
    on_end
        Told, as the last thing, that the connection or the attempt at it is over, and the error if there was one.
    """

    def __init__(
        self,
        client_id: str,
        protocol: MQTTProtocolVersion,
        *,
        on_too_long: Callable[[], None],
        on_end: Callable[[Ending | None], None],
    ) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if protocol is MQTTProtocolVersion.MQTTv5 else True,
            protocol=protocol,
            reconnect_on_failure=False,
        )
        self._on_too_long: Callable[[], None] | None = on_too_long
        self._on_end: Callable[[Ending | None], None] | None = on_end
        self._turned_s: float | None = None
        self._loop_thread: threading.Thread | None = None

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:  # noqa: ARG002
        """Work until the connection ends; paho runs this in its thread."""
        self._loop_thread = threading.current_thread()
        failure: Ending | None = None
        try:
            return super().loop_forever(timeout, retry_first_connection=False)
        except Exception as caught:  # noqa: BLE001  whatever a stranger on that port makes paho raise ends the attempt
            # Not the error itself: its traceback would keep paho's socket open until the garbage collector comes.
            failure = of_error(caught)
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        finally:
            on_end, self._on_end, self._on_too_long = self._on_end, None, None
            if on_end is not None:
                on_end(failure)

    def _loop(self, timeout: float = 1.0) -> MQTTErrorCode:
        self._turned_s = time.monotonic()
        return super()._loop(timeout)

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > MOST_PACKET_BYTES:  # paho asks for all that the packet's header has announced
            if self._on_too_long is not None:
                self._on_too_long()
            raise OSError(errno.EMSGSIZE, f"a packet of {bufsize} bytes")
        return super()._sock_recv(bufsize)

    def is_stuck(self) -> bool:
        """Whether paho's thread has a connection and has not looked at it for `STUCK_S`."""
        return self._turned_s is not None and time.monotonic() - self._turned_s > STUCK_S

    def has_ended(self) -> bool:
        """Whether paho's thread is gone."""
        return self._loop_thread is not None and not self._loop_thread.is_alive()

    def sever(self) -> None:
        """Cut the connection under paho's feet: its thread sees the end and leaves its loop."""
        raw = self.socket()
        if isinstance(raw, socket.socket):
            with contextlib.suppress(OSError):  # it is gone already
                # Not SSLSocket.shutdown, which takes the TLS layer away from under the other thread.
                socket.socket.shutdown(raw, socket.SHUT_RDWR)

    def join(self, timeout_s: float) -> bool:
        """Wait for paho's thread; return whether it has ended."""
        thread = self._loop_thread
        if thread is not None:
            thread.join(timeout_s)
        return thread is None or not thread.is_alive()
