"""paho-mqtt's client, held to one connection: its thread ends with it and says why."""

import contextlib
import socket
import threading
from collections.abc import Callable

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from edge.mqtt.reasons import Ending, of_error


class OneConnection(paho.Client):
    """paho's client, whose thread ends with the connection and says why.

    paho's own loop retries for ever, with no jitter, and keeps the error to itself.
    """

    def __init__(self, client_id: str, protocol: MQTTProtocolVersion, on_end: Callable[[Ending | None], None]) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if protocol is MQTTProtocolVersion.MQTTv5 else True,
            protocol=protocol,
            reconnect_on_failure=False,
        )
        self._on_end: Callable[[Ending | None], None] | None = on_end
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
            on_end, self._on_end = self._on_end, None
            if on_end is not None:
                on_end(failure)

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
