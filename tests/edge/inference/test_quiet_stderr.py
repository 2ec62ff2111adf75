"""Loading a model hides the runtime's notes, and nothing that anybody else writes to standard error."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edge.inference import load_classifier
from edge.inference.networks import quiet_stderr

NOTE = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"


@contextmanager
def piped_stderr() -> Iterator[int]:
    """The reading end of a pipe that is standard error meanwhile."""
    read_end, write_end = os.pipe()
    kept = os.dup(2)
    os.dup2(write_end, 2)
    os.close(write_end)
    try:
        yield read_end
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(read_end)


def test_stderr_of_other_threads_while_a_model_loads() -> None:
    with piped_stderr() as stderr:
        with quiet_stderr():
            os.write(2, NOTE)
            thread = threading.Thread(target=os.write, args=(2, b"ERROR events are lost: disk full\n"))
            thread.start()
            assert os.read(stderr, 1000) == b"ERROR events are lost: disk full\n"  # at once, not when all is loaded
            thread.join()
            os.write(2, NOTE + b"half a line")
        os.write(2, b" and its end\n")
        assert os.read(stderr, 1000) == b"half a line and its end\n"


def test_stderr_loses_no_line_while_models_are_loaded(capfd: pytest.CaptureFixture[str]) -> None:
    stop = threading.Event()
    written: list[str] = []

    def write() -> None:
        while not stop.wait(0.001) and len(written) < 5000:
            line = f"ERROR events are lost: {len(written)}"
            os.write(2, f"{line}\n".encode())
            written.append(line)

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(2):
        load_classifier()
    stop.set()
    writer.join()
    assert written
    assert sorted(capfd.readouterr().err.splitlines()) == sorted(written)


def test_stderr_is_restored_after_two_loads_at_a_time() -> None:
    before = os.fstat(2)
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with quiet_stderr():
            inside.set()
            assert leave.wait(20)

    def second() -> None:
        assert inside.wait(20)
        leave.set()
        with quiet_stderr():
            pass

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (os.fstat(2).st_dev, os.fstat(2).st_ino) == (before.st_dev, before.st_ino)
