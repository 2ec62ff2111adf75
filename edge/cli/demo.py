"""`emotion-edge demo`: runs the daemon on a built-in clip with its own broker, shows the events, writes a picture."""

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from edge.cli.watch import EventTable, listening, read
from edge.errors import EmotionEdgeError, UsageError
from edge.settings import MqttSettings, load_settings

if TYPE_CHECKING:
    from edge.mqtt.subscriber import Subscriber

DEVICE = "demo"
PICTURE_AT = 0.5
"""Position in the clip, 0 to 1, of the frame that is drawn at the end."""
PAGE_PORT = 8378
_LOOPBACK = "127.0.0.1"


def demo(
    picture: Annotated[Path, typer.Option(help="Where the annotated picture goes.")] = Path("out/demo.png"),
    pace: Annotated[
        Literal["realtime", "fast"], typer.Option(help="realtime as a camera, fast for the impatient.")
    ] = "realtime",
    web: Annotated[
        bool, typer.Option("--web", help="Repeat the clip, and show it on the live page until Ctrl-C.")
    ] = False,
) -> None:
    """Try everything without camera or broker: a built-in clip, the real daemon, its events in a table."""
    if web:
        run_page()
    else:
        run_demo(picture, pace=pace)


def run_demo(picture: Path, *, pace: str = "realtime") -> int:
    """Play the built-in clip through the daemon and show its events; return how many there were.

    Raises `EmotionEdgeError`: the daemon ended with an error (the message holds its last line), or no event came.
    """
    import cv2

    if not cv2.haveImageWriter(picture.name):
        raise UsageError(f"{picture}: not the name of a picture; give it a suffix such as .png")
    console = Console()
    console.print(f"[bold]emotion-edge demo[/]: a clip of a moving face, the real daemon, a broker on {_LOOPBACK}")
    with broker() as port, tempfile.TemporaryDirectory(prefix="emotion-edge-demo-") as folder:
        url = f"mqtt://{_LOOPBACK}:{port}"
        # Flags override any settings of this machine.
        settings = Path(folder) / "config.toml"
        settings.touch()
        command = [sys.executable, "-m", "edge", "run", "--config", str(settings), "--device", DEVICE, "--mqtt", url,
                   "--camera", f"demo:?pace={pace}", "--state-dir", folder]  # fmt: skip
        # Its log goes to a file: on the terminal it would break the table.
        with (
            listening(MqttSettings(url=url), DEVICE, mqtt_5=False) as subscriber,
            (Path(folder) / "log").open("w+") as log,
            subprocess.Popen(command, stdout=log, stderr=log) as daemon,
        ):
            try:
                count = _show(console, subscriber, daemon)
            finally:
                daemon.terminate()
            log.seek(0)
            if daemon.wait() != 0 or not count:
                last_line = (log.read().splitlines() or ["it printed nothing"])[-1]
                raise EmotionEdgeError(f"the daemon ended with exit code {daemon.returncode}: {last_line}")
    emotion = _write_picture(picture)
    console.print(f"{count} events. A frame of the clip with the face and its emotion ({emotion}): [bold]{picture}[/]")
    return count


def run_page() -> None:
    """Repeat the built-in clip through the daemon and serve its page, until SIGINT.

    Raises `EmotionEdgeError`: the daemon ended with an error; its log is on standard error.
    """
    listen = f"{_LOOPBACK}:{PAGE_PORT if _is_free(PAGE_PORT) else _free_port()}"
    with broker() as port, tempfile.TemporaryDirectory(prefix="emotion-edge-demo-") as folder:
        settings = Path(folder) / "config.toml"
        settings.write_text(f'[web]\nenabled = true\npicture = true\nlisten = "{listen}"\n')
        command = [sys.executable, "-m", "edge", "run", "--quiet", "--config", str(settings), "--device", DEVICE,
                   "--mqtt", f"mqtt://{_LOOPBACK}:{port}", "--camera", "demo:?pace=realtime&loop=1",
                   "--state-dir", folder]  # fmt: skip
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        # In a group of its own: Ctrl-C reaches this process, which then ends the daemon in order.
        with subprocess.Popen(command, process_group=0) as daemon:
            try:
                _wait_for_page(listen, daemon)
                Console().print(f"The page: [bold]http://{listen}/[/]  (Ctrl-C ends it)")
                daemon.wait()
            except KeyboardInterrupt:
                daemon.terminate()
        if daemon.returncode != 0:
            raise EmotionEdgeError(f"the daemon ended with exit code {daemon.returncode}")


def _wait_for_page(listen: str, daemon: "subprocess.Popen[bytes]") -> None:
    """Wait until the camera gives frames, or the daemon has ended."""
    import urllib.request

    while daemon.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{listen}/healthz", timeout=5):
                return
        except OSError:  # not yet listening, or still starting
            time.sleep(0.1)


def _show(console: Console, subscriber: "Subscriber", daemon: "subprocess.Popen[bytes]") -> int:
    """Show events until the daemon has ended and the last one is in the table."""
    with EventTable(console, title=f"emotion/1/{DEVICE}/event") as table:
        while True:
            ended = daemon.poll() is not None
            messages = read(subscriber, timeout_s=0.5)
            for seen in messages:
                table.add(seen)
            if ended and not messages:
                return table.count


def _write_picture(path: Path) -> str:
    import cv2

    from edge.analyzer import EmotionAnalyzer
    from edge.cameras import open_camera

    analyzer = EmotionAnalyzer.from_settings(
        load_settings(Path(os.devnull), flags={"device": DEVICE, "camera": "demo:"})
    )
    source = open_camera("demo:?pace=fast")
    frames = []
    while (frame := source.read(1.0)) is not None:
        frames.append(frame)
    source.close()
    chosen = frames[int(len(frames) * PICTURE_AT)]
    faces = analyzer.analyze(chosen)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), analyzer.annotate(chosen, faces)):
        raise EmotionEdgeError(f"{path}: cannot be written")
    return faces[0].emotion if faces else "no face"


@contextmanager
def broker() -> Iterator[int]:
    """Run amqtt, which speaks MQTT 3.1.1, in a thread of this process; yield its port.

    Raises `EmotionEdgeError`: it is not installed.
    """
    try:
        from amqtt.broker import Broker
    except ImportError:
        raise EmotionEdgeError(
            "the demo needs two packages more; in the project's folder: pip install '.[demo]'"
        ) from None
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    logging.getLogger("transitions").setLevel(logging.ERROR)
    port = _free_port()
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"{_LOOPBACK}:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    import asyncio  # here, as the other commands start faster without it

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="broker", daemon=True)
    thread.start()

    connections: set[asyncio.StreamWriter] = set()

    class Closing(Broker):  # type: ignore[misc, unused-ignore]
        """Closes each connection when its handler ends, which amqtt leaves to the garbage collector."""

        async def stream_connected(self, reader: Any, writer: asyncio.StreamWriter, listener_name: str) -> None:
            connections.add(writer)
            try:
                await super().stream_connected(reader, writer, listener_name)
            finally:
                connections.discard(writer)
                writer.close()

    async def start() -> Any:
        running = Closing(config)
        await running.start()
        return running

    async def stop() -> None:
        for writer in connections:  # of clients that are still there: from Python 3.12 on a server waits for them
            writer.close()
        await running.shutdown()
        handlers = asyncio.all_tasks() - {asyncio.current_task()}
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)

    running = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_LOOPBACK, port)) != 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])
