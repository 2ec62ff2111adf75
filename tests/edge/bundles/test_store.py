"""What a device keeps, what it runs, and how it goes back."""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge.bundles.choice import load_chosen_or_previous
from edge.cli import app
from edge.cli.support import run
from edge.errors import BundleError
from edge.inference import load_classifier, open_bundle, shipped_bundle
from edge.pipeline import load_pipeline
from edge.settings import Settings
from tests.edge.bundles.conftest import Device, KeyPair, make_key_pair

Make = Callable[[str], Path]


def identity(folder: Path) -> str:
    return open_bundle(folder).identity


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_nothing_installed_runs_the_bundle_that_ships(device: Device) -> None:
    assert device.runs() == identity(shipped_bundle())
    assert device.store.selection() is None
    assert not device.store.folder.exists()


def test_an_installed_bundle_runs_and_the_source_may_go(device: Device, make_bundle: Make) -> None:
    source = make_bundle("one")
    name = identity(source)
    assert device.install(source) == name
    shutil.rmtree(source)
    assert device.runs() == name
    assert load_pipeline(device.settings).classifier.name == name
    kept = device.store.folder / name
    assert {path.stat().st_mode & 0o777 for path in kept.iterdir()} == {0o644}  # the service is another user than root
    assert kept.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("bundle.tar.gz", ["tar", "-czf", "{archive}", "-C", "{parent}", "{name}"]),
        ("bundle.tgz", ["tar", "-czf", "{archive}", "-C", "{folder}", "."]),
        ("bundle-of-gnu.tar.gz", ["tar", "-czf", "{archive}", "--format=gnu", "-C", "{parent}", "{name}"]),
        ("bundle-of-pax.bin", ["tar", "-czf", "{archive}", "--format=pax", "-C", "{folder}", "."]),
    ],
)
def test_archives_that_people_make_are_installed(
    device: Device, make_bundle: Make, tmp_path: Path, name: str, command: list[str]
) -> None:
    folder = make_bundle("packed")
    archive = tmp_path / name
    words = {"archive": archive, "folder": folder, "parent": folder.parent, "name": folder.name}
    subprocess.run([word.format(**words) for word in command], check=True)
    assert device.install(archive) == identity(folder)
    assert device.runs() == identity(folder)
    assert device.leftovers() == []


def test_rollback_goes_back_and_forth(device: Device, make_bundle: Make) -> None:
    with pytest.raises(BundleError, match="no bundle was ever installed"):
        device.store.rollback(device.check)
    one, two = device.install(make_bundle("one")), device.install(make_bundle("two"))
    assert device.runs() == two
    assert device.store.rollback(device.check) == one == device.runs()
    assert device.store.rollback(device.check) == two == device.runs()


def test_the_first_install_can_be_taken_back(device: Device, make_bundle: Make) -> None:
    one = device.install(make_bundle("one"))
    assert device.store.rollback(device.check) == "shipped"
    assert device.runs() == identity(shipped_bundle())
    assert device.store.rollback(device.check) == one


def test_use_takes_a_name_a_full_name_and_the_one_that_ships(device: Device, make_bundle: Make) -> None:
    one, two = device.install(make_bundle("one")), device.install(make_bundle("two"))
    for wanted, expected in (("one", one), (two, two), ("shipped", "shipped"), (one, one)):
        assert device.store.use(wanted, device.check) == expected
    assert device.runs() == one
    for wanted in ("three", "../one", "", "selected.json", ".incoming"):
        with pytest.raises(BundleError, match=rf"there is no such bundle; name one of {two}, {one}, shipped"):
            device.store.use(wanted, device.check)
    assert device.runs() == one


def test_a_name_that_two_bundles_have_must_be_full(device: Device, make_bundle: Make, tmp_path: Path) -> None:
    bundle = make_bundle("same")
    first = device.install(bundle)
    manifest = msgspec.json.decode((bundle / "manifest.json").read_bytes())
    (bundle / "manifest.json").write_bytes(msgspec.json.encode({**manifest, "created": "later"}))
    second = device.install(bundle)
    with pytest.raises(BundleError, match=rf"more than one bundle has this name; name one of {second}, {first}$"):
        device.store.use("same", device.check)


def test_old_bundles_go_but_never_the_current_and_the_previous(device: Device, make_bundle: Make) -> None:
    names = [device.install(make_bundle(f"b{index}")) for index in range(4)]
    device.store.use(names[0], device.check)
    names.append(device.install(make_bundle("b4")))
    names.append(device.install(make_bundle("b5")))
    assert sorted(device.store.names()) == sorted([names[2], names[3], names[4], names[5]])
    device.store.use(names[2], device.check)
    device.install(make_bundle("b6"))
    assert names[2] in device.store.names()


def test_the_setting_goes_before_what_was_installed(device: Device, make_bundle: Make) -> None:
    device.install(make_bundle("installed"))
    named = make_bundle("named")
    settings = msgspec.structs.replace(device.settings, bundle=str(named))
    assert load_pipeline(settings).classifier.name == identity(named)
    damage(named / "cnn.tflite")
    with pytest.raises(BundleError, match=r"cnn\.tflite: damaged"):
        load_pipeline(settings)  # an order has no way out


def test_damaged_bundle_gives_way_to_previous_then_to_shipped(
    device: Device, make_bundle: Make, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = device.install(make_bundle("one")), device.install(make_bundle("two"))
    damage(device.store.folder / two / "cnn.tflite")
    assert load_chosen_or_previous(device.settings).name == one
    assert f"{two}/cnn.tflite" in caplog.text.replace(": cnn.tflite", "/cnn.tflite")
    assert f"running {one} instead" in caplog.text
    shutil.rmtree(device.store.folder / one)
    assert load_chosen_or_previous(device.settings).name == identity(shipped_bundle())
    with pytest.raises(BundleError, match="damaged"):
        device.runs()


@pytest.mark.parametrize("content", [b"", b"{", b"\x00" * 100, b'{"current": "../../etc", "previous": null}', b"[]"])
def test_a_damaged_choice_is_said_and_mended_by_the_next(
    device: Device, make_bundle: Make, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    one = device.install(make_bundle("one"))
    (device.store.folder / "selected.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"selected\.json: "):
        device.runs()
    assert load_chosen_or_previous(device.settings).name == identity(shipped_bundle())
    assert "selected.json" in caplog.text
    assert device.store.use("one", device.check) == one == device.runs()


def test_second_install_of_the_same_mends_what_is_damaged(device: Device, make_bundle: Make) -> None:
    device.install(make_bundle("zero"))
    source = make_bundle("one")
    name = device.install(source)
    before = device.store.selection()
    kept = device.store.folder / name / "cnn.tflite"
    number = kept.stat().st_ino
    assert device.install(source) == name
    assert kept.stat().st_ino == number
    damage(kept)
    assert device.install(source) == name == device.runs()
    assert device.store.selection() == before
    assert device.leftovers() == []


def test_a_bundle_that_was_signed_anew_replaces_its_older_self(
    tmp_path: Path, make_bundle: Make, keys: KeyPair
) -> None:
    new = make_key_pair(tmp_path, "new")
    both = tmp_path / "trusted.pem"
    both.write_bytes(keys.public.read_bytes() + new.public.read_bytes())
    device = Device(Settings(state_dir=str(tmp_path / "state"), bundle_key=str(both)))
    source = make_bundle("one")
    device.install(keys.sign(source))
    name = device.install(new.sign(source))
    both.write_bytes(new.public.read_bytes())
    assert device.runs() == name


def test_a_bundle_that_fails_its_self_test_is_not_installed(
    device: Device, make_bundle: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = device.install(make_bundle("one"))
    two = make_bundle("two")
    broken = bytearray((two / "cnn.tflite").read_bytes())
    broken[:4] = b"\xff\xff\xff\xff"  # a flatbuffer whose root lies beyond its end, with the right hash
    (two / "cnn.tflite").write_bytes(broken)
    manifest = msgspec.json.decode((two / "manifest.json").read_bytes())
    import hashlib

    manifest["files"]["cnn.tflite"]["sha256"] = hashlib.sha256(broken).hexdigest()
    (two / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(BundleError, match=r"cnn\.tflite: "):
        device.install(two)
    assert device.runs() == one
    assert device.store.names() == [one]
    assert device.leftovers() == []


def test_numbers_that_are_no_scores_fail_the_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    from edge.bundles.self_test import self_test
    from edge.inference.manifest import LogScores

    class Odd:
        name = "odd"
        population: LogScores | None = None

        def __init__(self, *scores: float) -> None:
            self._scores = np.array([scores], np.float32)

        def scores(self, chips, points):  # type: ignore[no-untyped-def]
            return self._scores

    folder = Path("odd")
    assert self_test(Odd(0.1, 0.2, 0.3, 0.4, 0.0), folder).sum() == pytest.approx(1)
    for scores in ((0.5, 0.5), (0.2,) * 6, (float("nan"),) * 5, (2.0, -1.0, 0, 0, 0), (0.0,) * 5):
        with pytest.raises(BundleError, match=r"odd: the self-test failed"):
            self_test(Odd(*scores), folder)


def test_the_drawn_face_is_one_for_landmark_models_too() -> None:
    import numpy as np

    from edge.bundles.self_test import landmarks, picture
    from edge.faces.distances import landmark_features

    assert picture().shape == (48, 48)
    assert picture().dtype == np.uint8
    points = landmarks()
    assert points.shape == (68, 2)
    assert points.dtype == np.float32
    assert points[36:42].mean(axis=0)[0] < points[27:36].mean(axis=0)[0] < points[42:48].mean(axis=0)[0]
    assert points[17:27, 1].max() < points[36:48, 1].mean() < points[48:, 1].min() < points[8, 1]
    assert np.isfinite(landmark_features(points[np.newaxis])).all()


def test_two_installs_at_once_are_one_and_a_refusal(device: Device, make_bundle: Make) -> None:
    one = device.install(make_bundle("one"))
    descriptor = os.open(device.store.folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(BundleError, match="another install is running here"):
            device.install(make_bundle("two"))
    finally:
        os.close(descriptor)
    assert device.runs() == one


def bundle_command(*words: str) -> int:
    return run(app, ["bundle", *words])


def test_the_commands_say_what_they_did(
    device: Device, make_bundle: Make, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = make_bundle("one")
    name = identity(source)
    config = tmp_path / "config.toml"
    config.write_text(f'state_dir = "{device.settings.state_dir}"\n')
    site = ["--config", str(config)]

    assert bundle_command("verify", str(source), "--json", "--config", str(config)) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["signature"]) == (name, "not signed")
    assert sum(told["self_test"].values()) == pytest.approx(1, abs=0.01)
    assert not device.store.folder.exists()

    assert bundle_command("install", str(source), *site) == 0
    assert f"{name} is chosen; to load it into the running service: sudo systemctl reload" in capsys.readouterr().out
    assert bundle_command("use", "shipped", "--json", *site) == 0
    assert json.loads(capsys.readouterr().out) == {"current": "shipped", "previous": name}
    assert bundle_command("rollback", "--json", *site) == 0
    assert json.loads(capsys.readouterr().out) == {"current": name, "previous": "shipped"}

    damage(device.store.folder / name / "cnn.tflite")
    assert bundle_command("list", "--json", *site) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows[name]["chosen"] == "current"
    assert "cnn.tflite: damaged" in rows[name]["refused"]
    assert (rows["shipped"]["chosen"], rows["shipped"]["refused"]) == ("previous", None)
    assert bundle_command("list", *site) == 0
    assert name in capsys.readouterr().out

    config.write_text(config.read_text() + f'bundle = "{source}"\n')
    assert bundle_command("use", "shipped", *site) == 0
    assert "the setting bundle = " in capsys.readouterr().err


def test_the_commands_refuse_in_one_line_and_with_78(
    device: Device, make_bundle: Make, capsys: pytest.CaptureFixture[str], tmp_path: Path, keys: KeyPair
) -> None:
    site = ["--state-dir", device.settings.state_dir]
    unsigned = str(make_bundle("one"))
    for words, said in (
        (["install", "nowhere", *site], "nowhere: no such folder or archive"),
        (["verify", "http://example.org/x.zip"], "only https is allowed"),
        (["verify", "https://me:secret@example.org/x.zip"], "an address with a password in it"),
        (["use", "x", *site], "there is no such bundle"),
        (["install", unsigned, "--bundle-key", str(keys.public), *site], "manifest.sig: missing"),
        (["verify", unsigned, "--bundle-key", str(keys.public)], "manifest.sig: missing"),
        (["install", unsigned, "--bundle-key", "none.pem", *site], "bundle_key: none.pem cannot be read"),
    ):
        assert bundle_command(*words) == 78, words
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
        assert "secret" not in error
    assert bundle_command("install", unsigned, *site) == 0
    assert bundle_command("use", "one", "--bundle-key", str(keys.public), *site) == 78
    assert bundle_command("rollback", "--bundle-key", str(keys.public), *site) == 78  # to the one that ships, unsigned
    assert device.runs() == identity(Path(unsigned))


def test_bundle_is_read_once_and_outlives_its_folder(device: Device, make_bundle: Make) -> None:
    name = device.install(make_bundle("one"))
    classifier = load_classifier(device.store.folder / name)
    shutil.rmtree(device.store.folder)
    device.check(shipped_bundle())
    assert classifier.name == name
