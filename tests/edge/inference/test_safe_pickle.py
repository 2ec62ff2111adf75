"""Pickles that try to run something. Each is in a bundle whose hashes match: whoever makes bundles could do that."""

import codecs
import copyreg
import functools
import importlib
import operator
import os
import pickle
import pickletools
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import BundleError
from edge.inference import load_classifier
from edge.inference.safe_pickle import read_pickle
from tests.edge.inference.conftest import faces_of_five_kinds, file_entry

Write = Callable[[bytes], Path]
WATCHED = (
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "marshal.loads", "pickle.find_class",
    "shutil.", "ctypes.", "webbrowser.open", "socket.", "code.__new__", "os.mkdir", "os.kill",
)  # fmt: skip
"""Audit events (docs.python.org/3/library/audit_events.html) of what a payload would do."""
_heard: list[str] | None = None


def _listen(event: str, _arguments: object) -> None:
    if _heard is not None and event.startswith(WATCHED):
        _heard.append(event)


sys.addaudithook(_listen)


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collect the audit events of what is run meanwhile."""
    global _heard  # noqa: PLW0603  # an audit hook cannot be taken away again
    events: list[str] = []
    _heard = events
    try:
        yield events
    finally:
        _heard = None


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[Path]:
    """What a payload would make; it must not be there in the end."""
    yield tmp_path / "sentinel"
    assert not (tmp_path / "sentinel").exists()


def refusal(folder: Path) -> str:
    """Load the KNN of a bundle, which must be refused with one line that names the file, with nothing run."""
    with heard() as events, pytest.raises(BundleError, match=r"landmark-knn\.pkl: ") as refused:
        load_classifier(folder, "knn")
    assert events == []
    assert "\n" not in str(refused.value)
    return str(refused.value)


class Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self._parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self._parts


def named(module: str, name: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def text(value: str) -> bytes:
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def stack_global(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def whole(body: bytes, protocol: int = 4) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


GADGETS: dict[str, Callable[[str], Any]] = {
    "os.system": lambda path: Call(os.system, f"touch {path}"),
    "posix.system by name": lambda path: Call(named("posix", "system"), f"touch {path}"),
    "os.popen": lambda path: Call(os.popen, f"touch {path}"),
    "os.mkdir": lambda path: Call(os.mkdir, path),
    "os.open": lambda path: Call(os.open, path, os.O_CREAT),
    "builtins.eval": lambda path: Call(eval, f"open({path!r}, 'w')"),
    "builtins.exec": lambda path: Call(exec, f"open({path!r}, 'w')"),
    "builtins.open": lambda path: Call(open, path, "w"),
    "builtins.__import__": lambda path: Call(__import__, "antigravity"),
    "builtins.getattr": lambda path: Call(getattr, Path(path), "touch"),
    "builtins.map": lambda path: Call(list, Call(map, os.mkdir, [path])),
    "functools.partial": lambda path: Call(functools.partial(os.system, f"touch {path}")),
    "functools.reduce": lambda path: Call(functools.reduce, os.mkdir, [path, 0o755]),
    "operator.methodcaller": lambda path: Call(operator.methodcaller("mkdir"), Path(path)),
    "operator.attrgetter": lambda path: Call(operator.attrgetter("touch"), Path(path)),
    "subprocess.Popen": lambda path: Call(subprocess.Popen, ["touch", path]),
    "subprocess.check_output": lambda path: Call(subprocess.check_output, ["touch", path]),
    "shutil.rmtree": lambda path: Call(named("shutil", "rmtree"), path),
    "pathlib.Path.touch": lambda path: Call(Path.touch, Path(path)),
    "importlib.import_module": lambda path: Call(importlib.import_module, "antigravity"),
    "runpy.run_path": lambda path: Call(named("runpy", "run_path"), path),
    "timeit.timeit": lambda path: Call(named("timeit", "timeit"), f"open({path!r}, 'w')"),
    "cProfile.run": lambda path: Call(named("cProfile", "run"), f"open({path!r}, 'w')"),
    "bdb.Bdb.run": lambda path: Call(named("bdb", "Bdb.run"), Call(named("bdb", "Bdb")), f"open({path!r}, 'w')"),
    "pydoc.locate": lambda path: Call(named("pydoc", "locate"), "antigravity"),
    "codecs.decode": lambda path: Call(codecs.decode, "b3cra", "rot13"),
    "marshal.loads": lambda path: Call(named("marshal", "loads"), b"N"),
    "ctypes.CDLL": lambda path: Call(named("ctypes", "CDLL"), path),
    "nested pickle.loads": lambda path: Call(pickle.loads, pickle.dumps(Call(os.mkdir, path))),
    "nested pickle.Unpickler": lambda path: Call(named("pickle", "_loads"), pickle.dumps(Call(os.mkdir, path))),
    "numpy.load": lambda path: Call(np.load, path, None, True),
    "numpy.fromfile": lambda path: Call(np.fromfile, path),
    "numpy.memmap": lambda path: Call(np.memmap, path, "uint8", "w+", 0, (8,)),
    "numpy runstring": lambda path: Call(named("numpy.testing", "rundocs"), path),
    "numpy.savetxt": lambda path: Call(np.savetxt, path, [1]),
    "numpy.ndarray.tofile": lambda path: Call(np.ndarray.tofile, np.zeros(1), path),
    "joblib.load": lambda path: Call(named("joblib", "load"), path),
    "joblib NumpyArrayWrapper": lambda path: Call(named("joblib.numpy_pickle", "NumpyArrayWrapper"), *("xxxx")),
    "joblib.dump": lambda path: Call(named("joblib", "dump"), 1, path),
    "sklearn FunctionTransformer": lambda path: named("sklearn.preprocessing", "FunctionTransformer")(os.mkdir),
    "sklearn load_files": lambda path: Call(named("sklearn.datasets", "load_files"), path),
    "sklearn fetch_file": lambda path: Call(named("sklearn.datasets", "fetch_openml"), "x"),
    "sklearn KDTree": lambda path: Call(named("sklearn.neighbors", "KDTree"), [[1.0]]),
    "sklearn Bunch": lambda path: Call(named("sklearn.utils", "Bunch")),
    "threading.Thread": lambda path: Call(named("threading", "Thread"), None, os.mkdir, None, (path,)),
    "logging.FileHandler": lambda path: Call(named("logging", "FileHandler"), path),
    "sqlite3.connect": lambda path: Call(named("sqlite3", "connect"), path),
    "socket.create_connection": lambda path: Call(named("socket", "create_connection"), ("127.0.0.1", 9)),
    "urllib urlopen": lambda path: Call(named("urllib.request", "urlopen"), f"file://{path}"),
    "sys.exit": lambda path: Call(sys.exit, 0),
    "os._exit": lambda path: Call(os._exit, 0),
    "os.kill": lambda path: Call(os.kill, os.getpid(), 9),
    "copyreg._reconstructor": lambda path: Call(named("copyreg", "_reconstructor"), dict, dict, {}),
    "state with a callable": lambda path: Call(dict, state={"__setstate__": os.system}),
}  # fmt: skip


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", GADGETS)
def test_a_gadget_is_refused_and_nothing_runs(
    write_knn_bundle: Write, sentinel: Path, name: str, protocol: int
) -> None:
    folder = write_knn_bundle(pickle.dumps(GADGETS[name](str(sentinel)), protocol))
    assert "refused: it " in refusal(folder)


@pytest.mark.parametrize("name", ["os.system", "os.mkdir", "functools.reduce", "nested pickle.loads", "os.open"])
def test_the_same_gadgets_do_run_where_nobody_looks(tmp_path: Path, name: str) -> None:
    """What the tests above would see, were a payload to run."""
    sentinel = tmp_path / "sentinel"
    content = pickle.dumps(GADGETS[name](str(sentinel)), 4)
    with heard() as events:
        pickle.loads(content)
    assert sentinel.exists()
    assert "pickle.find_class" in events


CRAFTED: dict[str, bytes] = {
    "an extension code": whole(b"\x82\xf0"),
    "an extension code of two bytes": whole(b"\x83\xf0\xf0"),
    "an extension code of four bytes": whole(b"\x84\xf0\xf0\xf0\x00"),
    "a global in the old form": whole(b"cposix\nsystem\n"),
    "an instance in the old form": whole(b"(S'touch x'\niposix\nsystem\n"),
    "an object in the old form": whole(b"(" + stack_global("os", "system") + text("touch x") + b"o"),
    "a persistent id": whole(b"Pos.system\n"),
    "a binary persistent id": whole(text("os.system") + b"Q"),
    "names put together from the memo": whole(
        text("system") + b"\x94" + text("posix") + b"\x94h\x01h\x00\x93" + text("touch x") + b"\x85R"
    ),
    "a name of two parts": whole(stack_global("sklearn.pipeline", "Pipeline.__init__.__globals__")),
    "a name below an admitted one": whole(stack_global("numpy", "ndarray.tofile")),
    "an admitted name of another module": whole(stack_global("os", "_reconstruct")),
    "a module that only begins alike": whole(stack_global("sklearn.pipeline.os", "system")),
    "names that are no text": whole(b"K\x01K\x02\x93"),
    "names that are lists": whole(b"]]\x93"),
    "the memo's place 4 thousand million": whole(b"Nr\xff\xff\xff\xff"),
    "bytes of an exabyte": whole(b"\x8e" + struct.pack("<Q", 1 << 60)),
    "a byte array of a terabyte": whole(b"\x96" + struct.pack("<Q", 1 << 40)),
    "a text longer than the file": whole(b"X" + struct.pack("<I", 1 << 31)),
    "a frame longer than the file": whole(b"\x95" + struct.pack("<Q", 1 << 40) + b"N"),
    "a number of 255 bytes for a shape": whole(
        stack_global("numpy.core.multiarray", "_reconstruct") + stack_global("numpy", "ndarray")
        + b"\x8a\xff" + b"\x7f" * 255 + b"\x85C\x01b\x87R"
    ),
    "a record called with arguments": whole(stack_global("sklearn.pipeline", "Pipeline") + text("x") + b"\x85R"),
    "a record made with arguments": whole(stack_global("sklearn.pipeline", "Pipeline") + text("x") + b"\x85\x81"),
    "an object made of a function": whole(stack_global("numpy", "dtype") + b")\x81"),
    "the state of a class": whole(stack_global("sklearn.pipeline", "Pipeline") + b"}" + text("steps") + b"NsbN"),
    "the state of a function": whole(stack_global("numpy", "dtype") + b"}" + text("__call__") + b"Nsb"),
    "slots of a function": whole(stack_global("numpy", "dtype") + b"N}" + text("__code__") + b"Ns\x86b"),
    "state of an integer": whole(b"K\x01}" + text("real") + b"K\x02sb"),
    "a record whose state is a list": whole(stack_global("sklearn.pipeline", "Pipeline") + b")\x81]b"),
    "a record whose keys are numbers": whole(stack_global("sklearn.pipeline", "Pipeline") + b")\x81}K\x01Nsb"),
    "a record with two states": whole(stack_global("sklearn.pipeline", "Pipeline") + b")\x81}b}b"),
    "a record without a state": whole(stack_global("sklearn.pipeline", "Pipeline") + b")\x81"),
    "a record appended to": whole(stack_global("sklearn.pipeline", "Pipeline") + b")\x81Na"),
    "a record with items": whole(stack_global("sklearn.pipeline", "Pipeline") + b")\x81NNs"),
    "a pipeline that is its own step": whole(
        stack_global("sklearn.pipeline", "Pipeline") + b")\x81\x94}"
        + text("steps") + b"]" + text("a") + b"h\x00\x86asb"
    ),
    "a class for a pipeline": whole(stack_global("sklearn.pipeline", "Pipeline")),
    "a function for a pipeline": whole(stack_global("numpy", "dtype")),
    "an array of another class": whole(
        stack_global("numpy.core.multiarray", "_reconstruct") + stack_global("sklearn.pipeline", "Pipeline")
        + b"K\x00\x85C\x01b\x87R"
    ),
    "a dtype of objects": whole(stack_global("numpy", "dtype") + text("O8") + b"\x89\x88\x87R"),
    "a dtype of fields": whole(stack_global("numpy", "dtype") + text("f8,O") + b"\x89\x88\x87R"),
    "the dtype that all share": whole(stack_global("numpy", "dtype") + text("f8") + b"\x89\x89\x87R"),
    "a dtype turned to big-endian": whole(
        stack_global("numpy", "dtype") + text("f8") + b"\x89\x88\x87R(K\x03" + text(">")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    ),
    "a scalar of an object": whole(stack_global("numpy.core.multiarray", "scalar") + b"NC\x01x\x86R"),
    "an empty stack": whole(b""),
    "a mark alone": whole(b"("),
    "a memo that is not there": whole(b"h\x07"),
    "unhashable keys": whole(b"}]Ns"),
    "a second pickle behind it": whole(b"N") + whole(stack_global("os", "system")),
    "no end": b"\x80\x04N",
    "nothing": b" ",
    "text": b"cnn.tflite",
    "protocol 5": whole(b"N", 5),
    "protocol 255": whole(b"N", 255),
    "lists in lists": whole(b"]" * 5000 + b"a" * 4999),
    "ten thousand operations": whole(b"]" + b"Na" * 6000),
    "a thousand million lists": whole(b"]\x94" + b"".join(b"](" + b"h%c" % i * 10 + b"e\x94" for i in range(30))),
}  # fmt: skip


@pytest.mark.parametrize("content", CRAFTED.values(), ids=CRAFTED)
def test_a_crafted_program_is_refused(write_knn_bundle: Write, content: bytes) -> None:
    assert "refused: " in refusal(write_knn_bundle(content))


def test_a_cached_extension_code_does_not_go_past_the_check(write_knn_bundle: Write, sentinel: Path) -> None:
    """copyreg's registry and its cache hand out what an earlier pickle looked up, without asking `find_class`."""
    copyreg.add_extension("posix", "mkdir", 0xF1)
    try:
        copyreg._extension_cache[0xF1] = os.mkdir  # type: ignore[attr-defined]
        content = whole(b"\x82\xf1" + text(str(sentinel)) + b"\x85R")
        assert "refused: it holds the opcode EXT1" in refusal(write_knn_bundle(content))
    finally:
        copyreg.remove_extension("posix", "mkdir", 0xF1)


def test_numpys_shared_dtypes_stay_as_they_are() -> None:
    for content in CRAFTED.values():
        with suppress(BundleError):
            read_pickle(content)
    assert np.dtype("f8").byteorder == "="


NAMES = (
    "os.system", "posix.system", "builtins.eval", "builtins.exec", "builtins.getattr", "functools.partial", "os.popen",
    "subprocess.Popen", "pickle.loads", "_pickle.loads", "numpy.load", "joblib.load", "sys.exit", "numpy.memmap",
    "sklearn.preprocessing._function_transformer.FunctionTransformer", "sklearn.neighbors._kd_tree.newObj",
    "sklearn.neighbors._kd_tree.KDTree", "numpy.core.multiarray.fromfile", "copyreg.__reduce_ex__", "shutil.rmtree",
    "importlib.import_module", "types.FunctionType", "marshal.loads", "ctypes.CDLL",
)  # fmt: skip
fuzz = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(data=st.data())
def test_a_call_put_anywhere_into_a_real_pipeline_is_refused(knn_bundle: "KnnBundle", data: st.DataObject) -> None:
    real = knn_bundle.program
    place = data.draw(st.sampled_from([place or 0 for _, _, place in pickletools.genops(real)][1:]))
    module, _, name = data.draw(st.sampled_from(NAMES)).rpartition(".")
    ending = data.draw(st.sampled_from([b"\x85R", b"\x85\x81", b"\x85R}b", b"0"]))
    message = knn_bundle.refusal(real[:place] + stack_global(module, name) + text("touch x") + ending + real[place:])
    assert "refused: it names" in message or "refused: it holds the opcode" in message


@fuzz
@given(data=st.data())
def test_another_word_in_a_real_pipeline_is_refused_or_harmless(knn_bundle: "KnnBundle", data: st.DataObject) -> None:
    real = knn_bundle.program
    words = [(str(word), place or 0) for op, word, place in pickletools.genops(real) if op.name == "SHORT_BINUNICODE"]
    word, place = data.draw(st.sampled_from(words))
    other = data.draw(st.sampled_from([*(w for w, _ in words), "system", "os", "__setstate__", "__class__", ""]))
    knn_bundle.refused_or_sound(real[:place] + text(other) + real[place + len(text(word)) :])


def test_an_array_where_a_number_is_due_is_refused(knn_bundle: "KnnBundle") -> None:
    """Two names exchanged: the means of the classes stand where the number of components is due."""
    assert "refused: " in knn_bundle.refusal(knn_bundle.program.replace(text("means_"), text("_max_components")))


def test_a_bad_escape_in_an_opcode_is_refused_without_a_warning(knn_bundle: "KnnBundle") -> None:
    assert "refused: it holds the opcode STRING" in knn_bundle.refusal(b"\x80\x04S'\\d'\n.")


@fuzz
@given(data=st.data())
def test_a_pickle_with_changed_bytes_is_refused_or_harmless(knn_bundle: "KnnBundle", data: st.DataObject) -> None:
    broken = bytearray(knn_bundle.program)
    # Numbers make up nearly all of the file; the program between them is what there is to attack.
    starts = [(op.name, place or 0) for op, _, place in pickletools.genops(bytes(broken))]
    program = [place + offset for name, place in starts for offset in range(1 if "BYTES" in name else 3)]
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.sampled_from([i for i in program if i < len(broken)]))
        match data.draw(st.sampled_from(["change", "insert", "delete"])):
            case "change":
                broken[place] = data.draw(st.integers(0, 255))
            case "insert":
                broken.insert(place, data.draw(st.sampled_from(b"Rb\x81\x93(tN02")))
            case _:
                del broken[place]
    knn_bundle.refused_or_sound(bytes(broken))


@fuzz
@given(data=st.data())
def test_a_cut_pickle_is_refused(knn_bundle: "KnnBundle", data: st.DataObject) -> None:
    real = knn_bundle.pickle
    assert "refused: " in knn_bundle.refusal(real[: data.draw(st.integers(1, len(real) - 1))])


@fuzz
@given(data=st.data())
def test_a_flipped_bit_is_seen_before_anything_is_read(knn_bundle: "KnnBundle", data: st.DataObject) -> None:
    broken = bytearray(knn_bundle.pickle)
    position = data.draw(st.integers(0, len(broken) * 8 - 1))
    broken[position // 8] ^= 1 << position % 8
    message = knn_bundle.refusal(bytes(broken), hashed=False)
    assert "landmark-knn.pkl: damaged: its sha256 is not the one in the manifest" in message


class KnnBundle:
    """One folder whose KNN is written anew for each example."""

    def __init__(self, folder: Path, description: dict[str, Any], real: bytes) -> None:
        self.pickle, self.program = real, unframed(real)
        self._folder, self._description = folder, description

    def refusal(self, content: bytes, *, hashed: bool = True) -> str:
        """Why the device refuses this content."""
        self._write(content, hashed=hashed)
        return refusal(self._folder)

    def refused_or_sound(self, content: bytes) -> None:
        """A change may hit a number or a text that means nothing: then faces get scores all the same."""
        self._write(content)
        knn = None
        with heard() as events, suppress(BundleError):
            knn = load_classifier(self._folder, "knn")
        if knn is None:
            assert refusal(self._folder)
            return
        assert not [event for event in events if not event.startswith("ctypes.")]  # threadpoolctl looks for libraries
        scores = knn.scores(np.zeros((10, 48, 48), np.uint8), faces_of_five_kinds(10)[0])
        assert scores.sum(axis=1) == pytest.approx(np.ones(10), abs=1e-3)

    def _write(self, content: bytes, *, hashed: bool = True) -> None:
        self._description["files"]["landmark-knn.pkl"] = file_entry(content if hashed else self.pickle)
        (self._folder / "manifest.json").write_bytes(msgspec.json.encode(self._description))
        (self._folder / "landmark-knn.pkl").write_bytes(content)


@pytest.fixture
def knn_bundle(write_knn_bundle: Write, knn_pickle: bytes, knn_description: dict[str, Any]) -> KnnBundle:
    folder = write_knn_bundle(knn_pickle)
    load_classifier(folder, "knn")  # scikit-learn's import starts a program of its own, once
    return KnnBundle(folder, knn_description, knn_pickle)


def unframed(content: bytes) -> bytes:
    """The same pickle without frames, whose lengths any change would break."""
    places = [(op.name, place or 0) for op, _, place in pickletools.genops(content)]
    ends = [*(place for _, place in places[1:]), len(content)]
    out = b"".join(content[start:end] for (name, start), end in zip(places, ends, strict=True) if name != "FRAME")
    assert pickle.loads(out)
    return out
