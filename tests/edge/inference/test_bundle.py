import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import BundleError
from edge.inference import load_classifier, load_network, open_bundle, shipped_bundle
from edge.inference.manifest import MAX_MANIFEST_BYTES, ClassifierKind

Write = Callable[..., Path]
Models = dict[str, bytes]


def test_bundle_identity_is_its_name_and_the_manifests_hash(good_bundle: Path) -> None:
    bundle = open_bundle(good_bundle)
    digest = hashlib.sha256((good_bundle / "manifest.json").read_bytes()).hexdigest()
    assert bundle.identity == f"tiny@{digest[:8]}"
    assert bundle.read("cnn.tflite") == (good_bundle / "cnn.tflite").read_bytes()


@pytest.mark.parametrize("name", ["manifest.json", "cnn.tflite"])
def test_a_missing_file_is_named(good_bundle: Path, name: str) -> None:
    (good_bundle / name).unlink()
    with pytest.raises(BundleError, match=rf"{name}: missing"):
        open_bundle(good_bundle)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere: no model bundle: No such file"):
        open_bundle(tmp_path / "nowhere")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_anywhere_in_the_model_is_seen(good_bundle: Path, data: st.DataObject) -> None:
    path = good_bundle / "cnn.tflite"
    sound = path.read_bytes()
    position = data.draw(st.integers(0, len(sound) * 8 - 1))
    broken = bytearray(sound)
    broken[position // 8] ^= 1 << position % 8
    path.write_bytes(broken)
    try:
        with pytest.raises(BundleError, match=r"cnn\.tflite: damaged"):
            open_bundle(good_bundle)
    finally:
        path.write_bytes(sound)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cut_manifest_is_refused_at_any_length(good_bundle: Path, data: st.DataObject) -> None:
    path = good_bundle / "manifest.json"
    sound = path.read_bytes()
    path.write_bytes(sound[: data.draw(st.integers(0, len(sound) - 1))])
    try:
        with pytest.raises(BundleError, match=r"manifest\.json: not a bundle's manifest"):
            open_bundle(good_bundle)
    finally:
        path.write_bytes(sound)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_size_is_refused(good_bundle: Path, change: int) -> None:
    path = good_bundle / "cnn.tflite"
    content = path.read_bytes()
    path.write_bytes(content[:-1] if change < 0 else content + b"\0")
    with pytest.raises(BundleError, match=r"cnn\.tflite: has \d+ bytes"):
        open_bundle(good_bundle)


def test_file_that_changes_after_the_opening_is_not_used(good_bundle: Path) -> None:
    bundle = open_bundle(good_bundle)
    path = good_bundle / "cnn.tflite"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(BundleError, match=r"cnn\.tflite: damaged"):
        bundle.read("cnn.tflite")
    with pytest.raises(BundleError, match=r"no passwd in this bundle"):
        bundle.read("passwd")


@pytest.mark.parametrize("name", ["manifest.json", "cnn.tflite"])
def test_a_link_is_refused_even_to_the_right_content(good_bundle: Path, tmp_path: Path, name: str) -> None:
    (good_bundle / name).rename(tmp_path / name)
    (good_bundle / name).symlink_to(tmp_path / name)
    with pytest.raises(BundleError, match=rf"{name}: is a link"):
        open_bundle(good_bundle)


def test_a_named_pipe_is_refused_without_waiting_for_its_writer(good_bundle: Path) -> None:
    (good_bundle / "cnn.tflite").unlink()
    os.mkfifo(good_bundle / "cnn.tflite")
    with pytest.raises(BundleError, match=r"cnn\.tflite: is not a plain file"):
        open_bundle(good_bundle)


def test_a_folder_in_place_of_a_file_is_refused(good_bundle: Path) -> None:
    (good_bundle / "cnn.tflite").unlink()
    (good_bundle / "cnn.tflite").mkdir()
    with pytest.raises(BundleError, match=r"cnn\.tflite: is not a plain file"):
        open_bundle(good_bundle)


def test_a_file_that_the_manifest_does_not_name_is_refused(good_bundle: Path) -> None:
    (good_bundle / "extra.py").write_text("")
    with pytest.raises(BundleError, match=r"'extra\.py' is not in the manifest"):
        open_bundle(good_bundle)


def test_an_oversized_manifest_is_refused_unread(good_bundle: Path) -> None:
    (good_bundle / "manifest.json").write_bytes(b" " * (MAX_MANIFEST_BYTES + 1))
    with pytest.raises(BundleError, match=r"manifest\.json: has 65537 bytes, more than the 65536"):
        open_bundle(good_bundle)


def test_deep_nesting_is_refused(good_bundle: Path) -> None:
    (good_bundle / "manifest.json").write_bytes(b'{"schema":1,"name":' + b"[" * 30_000)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        open_bundle(good_bundle)


def population(**log_scores: list[Any]) -> dict[str, Any]:
    return {"data": "made", "part": "validation", "n": 10, "log_scores": log_scores}


CHANGES: list[tuple[str, list[str], Any, str]] = [
    ("newer schema", ["schema"], 2, "has schema 2, this version reads schema 1"),
    ("schema is text", ["schema"], "1", "schema"),
    ("other label order", ["labels"], ["happy", "angry", "sad", "surprise", "neutral"], "labels are happy, angry"),
    ("six labels", ["labels"], ["angry", "happy", "sad", "surprise", "neutral", "fear"], "labels are"),
    ("extra key", ["run_this"], "rm", "unknown field `run_this`"),
    ("extra key below", ["models", "cnn", "loader"], "pickle", "unknown field `loader`"),
    ("other chip", ["input", "chip_version"], 99, "version 99 of the face chip"),
    ("other landmarks", ["landmark_features_version"], 7, "version 7 of the landmark features"),
    ("other side", ["input", "side_px"], 64, "side_px"),
    ("unknown quantization", ["models", "cnn", "quantization"], "int4", "quantization"),
    ("hash too short", ["files", "cnn.tflite", "sha256"], "abc", "sha256"),
    ("hash with a line end", ["files", "cnn.tflite", "sha256"], "0" * 64 + "\n", "sha256"),
    ("no bytes", ["files", "cnn.tflite", "bytes"], 0, "bytes"),
    ("too many bytes", ["files", "cnn.tflite", "bytes"], 1 << 40, "bytes"),
    ("name leads out", ["name"], "../../x", "name"),
    ("share above one", ["models", "cnn", "agreement"], 1.5, "agreement"),
    ("model without file", ["models", "cnn", "file"], "other.tflite", "not among its files"),
    ("no model", ["models"], {}, "models"),
    ("no file", ["files"], {}, "files"),
    ("population of four", ["population"], population(cnn=[-1.0] * 4), "length 5"),
    ("population of six", ["population"], population(cnn=[-1.0] * 6), "length 5"),
    ("population above certainty", ["population"], population(cnn=[-1.0] * 4 + [0.1]), "<= 0.0"),
    ("population far below", ["population"], population(cnn=[-1e308] * 5), ">= -20.0"),
    ("population without numbers", ["population"], population(cnn=[None] * 5), "float"),
    ("population of nobody", ["population"], population(), "log_scores"),
    ("population of another model", ["population"], population(vgg=[-1.0] * 5), "the population names vgg"),
]


@pytest.mark.parametrize(("path", "value", "reason"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
def test_a_manifest_that_is_not_ours_is_refused(
    write_bundle: Write, description: dict[str, Any], int8_model: bytes, path: list[str], value: Any, reason: str
) -> None:
    parent = description
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    folder = write_bundle(description, {"cnn.tflite": int8_model})
    with pytest.raises(BundleError, match=r"manifest\.json: ") as refused:
        open_bundle(folder)
    assert reason in str(refused.value)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-1e999"])
def test_population_that_is_not_finite_is_refused(
    write_bundle: Write, description: dict[str, Any], int8_model: bytes, number: bytes
) -> None:
    description["population"] = population(cnn=[-1.5] * 5)
    folder = write_bundle(description, {"cnn.tflite": int8_model})
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"-1.5", number, 1))
    with pytest.raises(BundleError, match=r"manifest\.json: not a bundle's manifest"):
        open_bundle(folder)


def test_population_reaches_each_classifier(
    write_bundle: Write, description: dict[str, Any], int8_model: bytes
) -> None:
    description["population"] = population(cnn=[-3.0, -3.5, -2.5, -4.0, -0.5])
    folder = write_bundle(description, {"cnn.tflite": int8_model})
    measured = (-3.0, -3.5, -2.5, -4.0, -0.5)
    assert load_classifier(folder).population == load_network(open_bundle(folder)).population == measured


def test_bundle_of_an_older_version_has_no_population(good_bundle: Path) -> None:
    assert load_classifier(good_bundle).population is None


@pytest.mark.parametrize("kind", ["cnn", "vgg", "knn", "ensemble"])
def test_shipped_bundles_have_a_population_for_each_classifier(kind: ClassifierKind) -> None:
    for name in ("default", "vgg"):
        manifest = open_bundle(shipped_bundle(name)).manifest
        assert (manifest.population_of(kind) is not None) is (kind in manifest.classifiers())


@pytest.mark.parametrize("key", ["schema", "name", "labels", "input", "files", "models", "versions", "training_data"])
def test_a_manifest_that_lacks_a_key_is_refused(
    write_bundle: Write, description: dict[str, Any], int8_model: bytes, key: str
) -> None:
    del description[key]
    folder = write_bundle(description, {"cnn.tflite": int8_model})
    with pytest.raises(BundleError, match=rf"manifest\.json: .*`{key}`"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "name", ["../cnn.tflite", "/etc/passwd", "a/b", "..", ".", "", ".hidden", "manifest.json", "a\x00b", "x" * 300]
)
def test_a_file_name_that_leads_elsewhere_is_refused(
    write_bundle: Write, description: dict[str, Any], int8_model: bytes, name: str
) -> None:
    description["files"] = {name: description["files"]["cnn.tflite"]}
    description["models"]["cnn"]["file"] = name
    folder = write_bundle(description, {"cnn.tflite": int8_model})
    with pytest.raises(BundleError, match=r"manifest\.json: .* is no name for a file of a bundle"):
        open_bundle(folder)


def test_a_file_that_no_model_needs_is_refused(
    write_bundle: Write, description: dict[str, Any], int8_model: bytes
) -> None:
    description["files"]["stowaway.bin"] = description["files"]["cnn.tflite"]
    folder = write_bundle(description, dict.fromkeys(["cnn.tflite", "stowaway.bin"], int8_model))
    with pytest.raises(BundleError, match=r"'stowaway\.bin' belongs to no model"):
        open_bundle(folder)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
).map(msgspec.json.encode))  # fmt: skip
def test_any_other_content_of_a_manifest_is_one_clear_error(good_bundle: Path, raw: bytes) -> None:
    path = good_bundle / "manifest.json"
    sound = path.read_bytes()
    path.write_bytes(raw)
    try:
        with pytest.raises(BundleError, match=r"manifest\.json: ") as refused:
            open_bundle(good_bundle)
        assert "\n" not in str(refused.value)
    finally:
        path.write_bytes(sound)


def test_the_shipped_bundle_runs() -> None:
    try:
        folder = shipped_bundle()
    except BundleError as error:
        pytest.skip(str(error))
    assert load_classifier().name == open_bundle(folder).identity


@pytest.mark.parametrize(
    ("kind", "bundle"), [("cnn", "default"), ("knn", "default"), ("vgg", "vgg"), ("ensemble", "vgg")]
)
def test_shipped_bundles_hold_every_model_to_choose(kind: Any, bundle: str) -> None:
    if kind == "knn":
        pytest.importorskip("sklearn", reason="the KNN needs scikit-learn")
    try:
        identity = open_bundle(shipped_bundle(bundle)).identity
    except BundleError as error:
        pytest.skip(str(error))
    classifier = load_classifier(kind=kind)
    assert classifier.name.startswith(identity)
    rng = np.random.default_rng(0)
    scores = classifier.scores(rng.integers(0, 256, (3, 48, 48), dtype=np.uint8), rng.random((3, 68, 2), np.float32))
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=0.02)
