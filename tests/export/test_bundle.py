from pathlib import Path

import msgspec
import pytest

from edge.emotions import EMOTIONS
from edge.errors import BundleError, UsageError
from edge.faces.chip import CHIP_VERSION
from edge.inference import open_bundle, shipped_bundle
from edge.inference.manifest import ConvertedAccuracy, Figure, InputEntry, Manifest, ModelEntry
from edge.inference.signature import load_trusted_keys
from export.bundle import file_entries, install, load_signer
from tests.edge.bundles.conftest import make_key_pair


def manifest(files: dict[str, bytes]) -> Manifest:
    figure = Figure(accuracy=0.7, balanced_accuracy=0.7, balanced_accuracy_interval=(0.6, 0.8))
    accuracy = ConvertedAccuracy(data="made", part="test", n=10, before=figure, after=figure)
    return Manifest(
        schema=1, name="tiny", created="2026-01-02T03:04:05Z", labels=[*EMOTIONS],
        input=InputEntry(side_px=48, pixels="uint8 luma chip", chip_version=CHIP_VERSION),
        landmark_features_version=1, files=file_entries(files), training_data=None, versions={},
        models={"cnn": ModelEntry(file="cnn.tflite", quantization="int8", parameters=1, macs=1, agreement=1,
                                  accuracy=accuracy)},
    )  # fmt: skip


def test_what_the_device_would_refuse_never_reaches_its_place(tmp_path: Path) -> None:
    files = {"cnn.tflite": b"no model"}
    with pytest.raises(BundleError, match=r"cnn\.tflite"):
        install(tmp_path / "default", manifest(files), files)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_install_leaves_the_bundle_before_in_place(tmp_path: Path) -> None:
    out = tmp_path / "default"
    out.mkdir()
    (out / "manifest.json").write_text("the one before")
    files = {"cnn.tflite": b"no model"}
    with pytest.raises(BundleError):
        install(out, manifest(files), files)
    assert (out / "manifest.json").read_text() == "the one before"
    assert [path.name for path in tmp_path.iterdir()] == ["default"]


def test_a_link_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "default").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is not a folder"):
        install(tmp_path / "default", manifest({"cnn.tflite": b"x"}), {"cnn.tflite": b"x"})


def test_a_signature_is_of_the_manifest_that_was_written(tmp_path: Path) -> None:
    bundle = open_bundle(shipped_bundle())
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    pair = make_key_pair(tmp_path)
    install(tmp_path / "default", bundle.manifest, files, load_signer(pair.private))
    assert open_bundle(tmp_path / "default", load_trusted_keys(str(pair.public))).signature is not None


def test_previous_bundle_is_kept_and_the_one_before_it_not(tmp_path: Path) -> None:
    bundle = open_bundle(shipped_bundle())
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    for name in ("first", "second", "third"):
        install(tmp_path / "default", msgspec.structs.replace(bundle.manifest, name=name), files)
    assert open_bundle(tmp_path / "default").manifest.name == "third"
    assert open_bundle(tmp_path / "default.previous").manifest.name == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["default", "default.previous"]
