"""What a device must refuse, by the hundred: nothing of it runs, nothing is kept, and each refusal names the file."""

import gzip
import hashlib
import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import BundleError
from edge.inference import open_bundle, shipped_bundle
from edge.inference.signature import load_trusted_keys
from edge.settings import Settings
from tests.edge.bundles.conftest import Device, make_key_pair
from tests.edge.bundles.hostile import FILES, Hostile, Sound, folder_of, hostile_folders
from tests.edge.bundles.hostile_archives import hostile_archives

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)
REFUSED: list[str] = []
"""what was refused so far, for the count at the end"""


class Trap:
    """A device with a key and a signed bundle, where loading a model is noticed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outside = folder / "outside"
        self.outside.mkdir()
        (folder / "elsewhere").mkdir()
        model = b"\x20\0\0\0TFL3" + bytes(range(256)) * 24
        manifest = msgspec.json.decode((shipped_bundle() / "manifest.json").read_bytes())
        manifest["name"] = "small"
        for name in [name for name in manifest["files"] if name != "cnn.tflite"]:
            del manifest["files"][name]
        manifest = {
            key: manifest[key] for key in manifest if key not in ("knn", "ensemble", "population", "model_card")
        }
        manifest["files"]["cnn.tflite"] = {"sha256": hashlib.sha256(model).hexdigest(), "bytes": len(model)}
        raw = msgspec.json.encode(manifest)
        keys = make_key_pair(folder)
        self.sound = Sound({"manifest.json": raw, "cnn.tflite": model}, keys, self.outside)
        self.sound = Sound(self.sound.signed(raw), keys, self.outside)
        self.device = Device(Settings(state_dir=str(folder / "state"), bundle_key=str(keys.public)))
        self.loaded: list[Path] = []
        self._place = folder / "source"

    def install(self, hostile: Hostile) -> str | None:
        """The refusal; None if there was none."""
        from edge.bundles.source import bring

        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir()
        source = hostile.make(self._place)
        store, keys = self.device.store, load_trusted_keys(self.device.settings.bundle_key)

        def load(folder: Path | None) -> None:
            assert folder is not None
            self.loaded.append(folder)

        try:
            store.install(lambda scratch: bring(str(source), scratch, keys), load)
        except BundleError as refusal:
            return str(refusal)
        return None

    def assert_refused(self, hostile: Hostile) -> None:
        refusal = self.install(hostile)
        assert refusal is not None, f"{hostile.what}: was installed"
        assert hostile.names in refusal, f"{hostile.what}: {refusal!r} does not name {hostile.names!r}"
        assert refusal.isprintable(), f"{hostile.what}: {refusal!r} would harm a terminal"
        assert len(refusal) < 1000, hostile.what
        assert self.loaded == [], f"{hostile.what}: was loaded"
        assert list(self.outside.iterdir()) == [], f"{hostile.what}: wrote outside"
        assert self.device.store.selection() is None, hostile.what
        assert self.device.store.names() == [], hostile.what
        assert self.device.leftovers() == [], hostile.what
        REFUSED.append(hostile.what)


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    # The real syncs of a thousand installs would only wear out the disk.
    from edge.files import Files
    from tests.fakes.disk import Unsynced

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Files, "sync", Unsynced.sync)
        yield Trap(tmp_path_factory.mktemp("trap"))


def test_the_sound_one_is_taken_and_would_be_loaded(trap: Trap) -> None:
    assert trap.install(Hostile("sound", folder_of(trap.sound.files), "nothing")) is None
    assert len(trap.loaded) == 1
    packed = Path(shutil.make_archive(str(trap.folder / "sound"), "gztar", trap.folder / "source"))
    assert trap.install(Hostile("sound.tar.gz", lambda _place: packed, "nothing")) is None
    assert len(trap.loaded) == 2
    trap.loaded.clear()
    shutil.rmtree(trap.device.store.folder)


@pytest.mark.slow("refuses hundreds of hostile bundles")
def test_every_known_trick_is_refused(trap: Trap) -> None:
    failures = []
    for hostile in (*hostile_folders(trap.sound), *hostile_archives(trap.sound)):
        try:
            trap.assert_refused(hostile)
        except AssertionError as failure:
            failures.append(str(failure).partition("\n")[0])
            trap.loaded.clear()
            shutil.rmtree(trap.device.store.folder, ignore_errors=True)
    assert not failures, f"{len(failures)} of {len(failures) + len(REFUSED)}:\n" + "\n".join(failures)


@pytest.mark.slow("refuses hundreds of hostile bundles")
@settings(max_examples=150, derandomize=True)
@given(data=st.data())
def test_a_flipped_bit_in_any_file_is_refused(trap: Trap, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(FILES))
    content = bytearray(trap.sound.files[name])
    position = data.draw(st.integers(0, len(content) * 8 - 1))
    content[position // 8] ^= 1 << position % 8
    named = "cnn.tflite" if name == "cnn.tflite" else "manifest.sig"  # a changed manifest is seen by its signature
    trap.assert_refused(
        Hostile(f"bit {position} of {name}", folder_of({**trap.sound.files, name: bytes(content)}), named)
    )


@settings(max_examples=80, derandomize=True)
@given(data=st.data())
def test_a_file_cut_anywhere_is_refused(trap: Trap, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(FILES))
    length = data.draw(st.integers(0, len(trap.sound.files[name]) - 1))
    files = {**trap.sound.files, name: trap.sound.files[name][:length]}
    named = "cnn.tflite" if name == "cnn.tflite" else "manifest.sig"
    trap.assert_refused(Hostile(f"{name} cut to {length}", folder_of(files), named))


@pytest.mark.slow("refuses hundreds of hostile bundles")
@settings(max_examples=150, derandomize=True)
@given(data=st.data())
def test_a_broken_archive_is_refused_or_harmless(trap: Trap, data: st.DataObject) -> None:
    """A bit that nothing depends on, such as a time, may change; then what is installed is the sound bundle itself."""
    plain = data.draw(st.booleans())  # damage before the compression, whose checksum then fits, or after it
    raw = bytearray(_packed(trap) if plain else gzip.compress(_packed(trap), mtime=0))
    if data.draw(st.booleans()):
        position = data.draw(st.integers(0, len(raw) * 8 - 1))
        raw[position // 8] ^= 1 << position % 8
        what = f"bit {position} of {'tar' if plain else 'tar.gz'}"
    else:
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]
        what = f"{'tar' if plain else 'tar.gz'} cut to {len(raw)}"

    def make(place: Path) -> Path:
        (place / "hostile.tar.gz").write_bytes(gzip.compress(raw, mtime=0) if plain else raw)
        return place / "hostile.tar.gz"

    hostile = Hostile(what, make, "hostile.tar.gz")
    if trap.install(hostile) is not None:
        trap.assert_refused(hostile)
        return
    (name,) = trap.device.store.names()
    kept = trap.device.store.folder / name
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == trap.sound.files
    trap.loaded.clear()
    shutil.rmtree(trap.device.store.folder)


@settings(max_examples=60, derandomize=True)
@given(name=NAMES)
def test_a_member_of_any_other_name_is_refused(trap: Trap, name: str) -> None:
    """Every name but the three is one too many, whatever it looks like."""
    if name.removeprefix("./") in ("", ".", "/", *FILES) or name.endswith("/"):
        return

    def make(place: Path) -> Path:
        path = place / "hostile.tar.gz"
        path.write_bytes(gzip.compress(_packed(trap, extra=name), mtime=0))
        return path

    trap.assert_refused(Hostile(f"member {name!a}", make, "hostile.tar.gz"))


def _packed(trap: Trap, extra: str | None = None) -> bytes:
    """The sound bundle as a tar, the same at each call, and perhaps with one more member."""
    members = [*trap.sound.files.items(), *([(extra, b"x")] if extra is not None else [])]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.slow("counts what the tests above refuse")
def test_at_least_three_hundred_were_refused(trap: Trap, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts what the tests above refused; alone it makes the known tricks itself."""
    if not REFUSED:
        test_every_known_trick_is_refused(trap)
    different = len(set(REFUSED))
    with capsys.disabled():
        print(f"\n{different} different hostile or broken bundles refused, none loaded", end="")
    assert different >= 300
    assert open_bundle(folder_of(trap.sound.files)(_fresh(trap)), load_trusted_keys(str(trap.sound.keys.public)))


def _fresh(trap: Trap) -> Path:
    folder = trap.folder / "fresh"
    folder.mkdir(exist_ok=True)
    return folder
