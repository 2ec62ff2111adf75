"""The power goes at every step of every change of the store: the old bundle or the new one runs, never neither."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge.bundles.place import install_in_place
from edge.errors import BundleError
from edge.files import Files
from edge.inference import open_bundle
from edge.settings import Settings
from tests.edge.bundles.conftest import Device, copy_of_shipped
from tests.fakes.disk import FragileDisk, Loss, PowerCut, Unsynced

LOSSES: list[Loss] = ["nothing", "contents", "everything"]
Change = Callable[[Device, Files], object]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles and an archive of one, all made of a small file: what matters here are the steps."""
    folder = tmp_path_factory.mktemp("sources")
    found = {name: copy_of_shipped(folder / name, name) for name in ("a", "b", "c", "d", "e")}
    found["e.tar.gz"] = Path(shutil.make_archive(str(folder / "e"), "gztar", found["e"]))
    return found


class Quick(Device):
    """Opens bundles without running them: what a cut leaves is whole or not, and the hashes say which."""

    def check(self, folder: Path | None) -> None:
        if folder is not None:
            open_bundle(folder)

    def runs(self) -> str:
        chosen = self.store.selection()
        if chosen is None or chosen.current is None:
            return "shipped"
        return open_bundle(self.store.folder / chosen.current).identity

    def is_sound(self) -> bool:
        chosen = self.store.selection()
        names = [] if chosen is None else [chosen.current, chosen.previous]
        return all(open_bundle(self.store.folder / name) for name in names if name is not None)


def changes(sources: dict[str, Path]) -> dict[str, tuple[list[str], Change]]:
    """What is there before, and what is then done."""

    def store(device: Device, files: Files):  # type: ignore[no-untyped-def]
        return type(device.store)(device.store.folder, files)

    return {
        "first install": ([], lambda device, files: device.install(sources["a"], files)),
        "install": (["a"], lambda device, files: device.install(sources["b"], files)),
        "install from an archive": (["a"], lambda device, files: device.install(sources["e.tar.gz"], files)),
        "install that drops an old one": (["a", "b", "c", "d"], lambda d, files: d.install(sources["e"], files)),
        "install of the one that runs": (["a", "b"], lambda device, files: device.install(sources["b"], files)),
        "use": (["a", "b", "c"], lambda device, files: store(device, files).use("a", device.check)),
        "rollback": (["a", "b"], lambda device, files: store(device, files).rollback(device.check)),
    }


NAMES = list(changes({name: Path() for name in ("a", "b", "c", "d", "e", "e.tar.gz")}))


def prepared(folder: Path, sources: dict[str, Path], before: list[str]) -> Quick:
    device = Quick(Settings(state_dir=str(folder)))
    for name in before:
        device.install(sources[name], Unsynced())
    return device


@pytest.mark.slow("cuts the power at every step")
@pytest.mark.parametrize("what", NAMES)
def test_a_cut_at_any_step_leaves_the_old_bundle_or_the_new(
    what: str, sources: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, change = changes(sources)[what]
    template = prepared(tmp_path / "template", sources, before)
    old = template.runs()
    whole = prepared(tmp_path / "whole", sources, before)
    disk = FragileDisk()
    change(whole, disk)
    disk.lose("nothing")
    allowed = {old, whole.runs()}
    outcomes = set()
    for cut_at in range(len(disk.steps)):
        for loss in LOSSES:
            state = tmp_path / f"{cut_at}-{loss}"
            if Path(template.settings.state_dir).exists():
                shutil.copytree(template.settings.state_dir, state)
            device = Quick(Settings(state_dir=str(state)))
            fragile = FragileDisk(cut_at=cut_at)
            with pytest.raises(PowerCut):
                change(device, fragile)
            fragile.lose(loss)
            where = f"{what}: cut before step {cut_at} {disk.steps[cut_at]}, lost: {loss}"
            assert device.runs() in allowed, where
            assert device.is_sound(), where
            outcomes.add(device.runs())

            again = device.install(sources["c"], Unsynced())  # the next install works, and clears up
            assert device.runs() == again, where
            assert device.leftovers() == [], where
            shutil.rmtree(state)
    assert outcomes == allowed
    with capsys.disabled():
        print(
            f"\n{what}: {len(disk.steps)} steps x {len(LOSSES)} kinds of loss, the old or the new bundle each time",
            end="",
        )


class Hasty(FragileDisk):
    """Never syncs: what the test above would find."""

    def sync(self, path: Path) -> None:
        self._step("no sync", path)


def test_without_the_syncs_a_cut_would_leave_neither(sources: dict[str, Path], tmp_path: Path) -> None:
    broken = 0
    disk = Hasty()
    prepared(tmp_path / "whole", sources, ["a"]).install(sources["b"], disk)
    disk.lose("nothing")
    for cut_at in range(len(disk.steps)):
        device = prepared(tmp_path / str(cut_at), sources, ["a"])
        fragile = Hasty(cut_at=cut_at)
        with pytest.raises(PowerCut):
            device.install(sources["b"], fragile)
        fragile.lose("contents")
        try:
            device.runs()
        except BundleError:
            broken += 1
    assert broken > 0


def test_bundle_is_on_the_disk_before_the_choice_that_names_it(sources: dict[str, Path], tmp_path: Path) -> None:
    device = prepared(tmp_path, sources, ["a"])
    disk = FragileDisk()
    name = device.install(sources["b"], disk)
    disk.lose("nothing")
    order = [(what, name.partition(".json-")[0]) for what, name in disk.steps if what in ("sync", "rename")]
    assert order == [
        *(("sync", file) for file in open_bundle(sources["b"]).manifest.files),
        ("sync", "manifest.json"),
        ("sync", f".incoming-{name}"),
        ("rename", name),
        ("sync", "bundles"),
        ("sync", ".incoming-selected"),
        ("rename", "selected.json"),
        ("sync", "bundles"),
    ]


def contents(name: str) -> dict[str, bytes]:
    return {"manifest.json": name.encode() * 1000, "cnn.tflite": name.encode() * 5000}


@pytest.mark.slow("cuts the power at every step")
@pytest.mark.parametrize("before", [["a"], ["a", "b"]])
def test_an_export_that_is_cut_leaves_the_old_bundle_or_the_new(tmp_path: Path, before: list[str]) -> None:
    """`python -m export` installs in a folder of its own, without a store."""

    def held(folder: Path) -> str:
        found = {path.name: path.read_bytes() for path in folder.iterdir()}
        (name,) = [name for name in ("a", "b", "new") if found == contents(name)]
        return name

    def make(folder: Path) -> Path:
        folder.mkdir()
        for name in before:
            install_in_place(folder / "default", contents(name), held, Unsynced())
        return folder / "default"

    disk = FragileDisk()
    install_in_place(make(tmp_path / "whole"), contents("new"), held, disk)
    disk.lose("nothing")
    for cut_at in range(len(disk.steps)):
        for loss in LOSSES:
            out = make(tmp_path / f"{cut_at}-{loss}")
            fragile = FragileDisk(cut_at=cut_at)
            with pytest.raises(PowerCut):
                install_in_place(out, contents("new"), held, fragile)
            fragile.lose(loss)
            assert held(out) in (before[-1], "new"), (disk.steps[cut_at], loss)
            install_in_place(out, contents("new"), held, Unsynced())
            assert held(out) == "new"
            assert {path.name for path in out.parent.iterdir()} == {"default", "default.previous"}


KILLED = """
import os, signal, sys
from pathlib import Path
from edge.settings import Settings
from tests.edge.bundles.test_power_cut import Quick
from tests.fakes.disk import FragileDisk

source, *states = sys.argv[1:]
for cut_at, state in enumerate(states):
    child = os.fork()
    if child == 0:
        disk = FragileDisk(cut_at=cut_at, cut=lambda: os.kill(os.getpid(), signal.SIGKILL))
        Quick(Settings(state_dir=state)).install(Path(source), disk)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow("cuts the power at every step")
def test_a_killed_process_leaves_the_old_bundle_or_the_new(sources: dict[str, Path], tmp_path: Path) -> None:
    """SIGKILL at every step, in processes of their own: no handler, no `finally`."""
    template = prepared(tmp_path / "template", sources, ["a"])
    old = template.runs()
    disk = FragileDisk()
    new = prepared(tmp_path / "whole", sources, ["a"]).install(sources["b"], disk)
    disk.lose("nothing")
    states = [tmp_path / str(index) for index in range(len(disk.steps))]
    for state in states:
        shutil.copytree(template.settings.state_dir, state)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, sources["b"], *states], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[3], env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout.split() == ["-9"] * len(states), done.stderr
    found = []
    for state in states:
        device = Quick(Settings(state_dir=str(state)))
        found.append(device.runs())
        assert device.is_sound()
        device.install(sources["c"])
        assert device.leftovers() == []
    # The old one until the switch, the new one from then on.
    assert found == [old] * found.count(old) + [new] * found.count(new)
    assert found.count(old) > 0
    assert found.count(new) > 0


def test_a_file_system_without_exchange_still_installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def not_here(one: Path, other: Path) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("edge.files._exchange", not_here)
    for name in ("a", "b", "c"):
        install_in_place(tmp_path / "default", contents(name), lambda folder: None)
    assert (tmp_path / "default/manifest.json").read_bytes() == contents("c")["manifest.json"]
    assert (tmp_path / "default.previous/manifest.json").read_bytes() == contents("b")["manifest.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["default", "default.previous"]


def test_a_full_disk_changes_nothing(sources: dict[str, Path], tmp_path: Path) -> None:
    class Full(Files):
        def sync(self, path: Path) -> None:
            if path.name == "cnn.tflite":
                raise OSError(28, "No space left on device", str(path))
            super().sync(path)

    device = prepared(tmp_path, sources, ["a"])
    old = device.runs()
    with pytest.raises(OSError, match="No space left"):
        device.install(sources["b"], Full())
    assert device.runs() == old
    assert device.leftovers() == []
    assert msgspec.json.decode((device.store.folder / "selected.json").read_bytes())["current"] == old
