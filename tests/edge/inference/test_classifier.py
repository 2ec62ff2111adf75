import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.emotions import EMOTIONS
from edge.errors import BundleError
from edge.inference import TfliteClassifier, available_runtimes, load_classifier, open_bundle, open_interpreter
from edge.inference.bundle import shipped_bundle
from export.probe import probe
from tests.edge.inference.conftest import file_entry

Models = dict[str, bytes]
POINTS = np.random.default_rng(2).normal(size=(10, 68, 2)).astype(np.float32)
SLOW = pytest.mark.slow("makes networks with TensorFlow, or starts a process for each runtime")
KINDS: list[Any] = ["int8", "float16", "dynamic", "none"]


def chips(n: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, size=(n, 48, 48), dtype=np.uint8)


def test_a_loaded_bundle_scores_faces(good_bundle: Path) -> None:
    classifier = load_classifier(good_bundle)
    scores = classifier.scores(chips(7), POINTS[:7])
    assert classifier.name == open_bundle(good_bundle).identity
    assert scores.shape == (7, 5)
    assert scores.dtype == np.float32
    assert scores.sum(axis=1) == pytest.approx(np.ones(7), abs=1e-6)
    assert len(np.unique(scores, axis=0)) > 1


def test_no_faces_are_no_scores(good_bundle: Path) -> None:
    assert load_classifier(good_bundle).scores(chips(0), POINTS[:0]).shape == (0, 5)


@SLOW
@pytest.mark.parametrize("kind", KINDS)
def test_many_chips_score_as_each_alone_and_as_views(tiny_models: Models, kind: Any) -> None:
    classifier = TfliteClassifier(tiny_models[kind], name="x", quantization=kind)
    many = chips(5)
    alone = np.concatenate([classifier.scores(many[i : i + 1]) for i in range(5)])
    assert np.array_equal(classifier.scores(many), alone)
    mirrored = many[:, :, ::-1]
    assert np.array_equal(classifier.scores(mirrored), classifier.scores(mirrored.copy()))


@pytest.mark.parametrize("wrong", [np.zeros((1, 48, 48), np.float32), np.zeros((48, 48), np.uint8), chips(1)[:, :40]])
def test_other_arrays_than_chips_are_refused(good_bundle: Path, wrong: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"chips must be uint8 \[n, 48, 48\]"):
        load_classifier(good_bundle).scores(wrong, POINTS[:1])


@SLOW
@pytest.mark.parametrize("kind", KINDS)
def test_every_runtime_gives_the_same_answer(tiny_models: Models, kind: Any) -> None:
    runtimes = available_runtimes()
    found = [probe(tiny_models[kind], kind, chips(50), runtime).scores for runtime in runtimes]
    for runtime, scores in zip(runtimes[1:], found[1:], strict=True):
        assert np.abs(scores - found[0]).max() < (0.03 if kind == "int8" else 0.01), runtime


def test_a_model_that_the_bundle_does_not_hold_is_named(good_bundle: Path) -> None:
    with pytest.raises(BundleError, match="holds no vgg model; there is cnn"):
        load_classifier(good_bundle, "vgg")


@SLOW
def test_model_of_another_kind_than_the_manifest_is_refused(
    write_bundle: Callable[..., Path], description: dict[str, Any], tiny_models: Models
) -> None:
    description["files"]["cnn.tflite"] = file_entry(tiny_models["none"])
    folder = write_bundle(description, {"cnn.tflite": tiny_models["none"]})
    with pytest.raises(BundleError, match=r"cnn\.tflite: its output is float32 \[1, 5\], expected uint8 \[1, 5\]"):
        load_classifier(folder)


@pytest.mark.parametrize("content", [b"garbage", b"\x20\x00\x00\x00TFL3" + bytes(24)])
def test_a_file_that_is_no_model_is_refused(
    write_bundle: Callable[..., Path], description: dict[str, Any], content: bytes
) -> None:
    description["files"]["cnn.tflite"] = file_entry(content)
    with pytest.raises(BundleError, match=r"cnn\.tflite: ai_edge_litert cannot run this model"):
        load_classifier(write_bundle(description, {"cnn.tflite": content}), runtime="ai_edge_litert")


@pytest.mark.parametrize(
    ("side", "classes", "reason"),
    [(40, 5, r"its input is uint8 \[1, 40, 40, 1\]"), (48, 7, r"its output is float32 \[1, 7\]")],
)
def test_wrong_shapes_are_refused(side: int, classes: int, reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        TfliteClassifier(_plain_model(side, classes, softmax=True), name="x", quantization="none")


@pytest.mark.parametrize("operator", ["WHILE", "GATHER", "COS"])
def test_an_operator_that_no_network_needs_is_refused(
    write_bundle: Callable[..., Path], description: dict[str, Any], operator: str
) -> None:
    tf = pytest.importorskip("tensorflow", reason="makes its models with TensorFlow")
    body = {
        "WHILE": lambda x: tf.while_loop(lambda y: tf.reduce_sum(y) >= 0, lambda y: [y], [x])[0],
        "GATHER": lambda x: tf.gather(x, tf.cast(x[0], tf.int32), axis=1),
        "COS": tf.cos,
    }[operator]
    content = _model(lambda chip: tf.nn.softmax(body(tf.reshape(tf.cast(chip, tf.float32), [1, -1])[:, :5])), 48)
    description["files"]["cnn.tflite"] = file_entry(content)
    folder = write_bundle(description, {"cnn.tflite": content})
    with pytest.raises(BundleError, match=r"cnn\.tflite: it holds the operator [A-Z_]+, which no network here needs"):
        load_classifier(folder)


def test_outputs_that_are_no_scores_are_refused() -> None:
    with pytest.raises(BundleError, match="no row of scores that sum to 1"):
        TfliteClassifier(_plain_model(48, 5, softmax=False), name="x", quantization="none")


def test_an_unknown_runtime_is_refused(int8_model: bytes) -> None:
    with pytest.raises(BundleError, match="no TFLite runtime: armnn cannot be used here; install one"):
        open_interpreter(int8_model, runtime="armnn")


def test_loading_a_model_prints_nothing(good_bundle: Path) -> None:
    code = "import sys, pathlib, edge.inference as i; i.load_classifier(pathlib.Path(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, good_bundle], capture_output=True, text=True, check=True
    )
    assert done.stdout + done.stderr == ""


def test_importing_the_package_loads_no_runtime() -> None:
    code = "import edge.inference, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"ai_edge_litert", "tflite_runtime", "tensorflow", "keras", "cv2", "sklearn"} & set(loaded)


@SLOW
def test_every_runtime_agrees_on_the_shipped_model() -> None:
    try:
        bundle = open_bundle(shipped_bundle())
    except BundleError as error:
        pytest.skip(str(error))
    entry = bundle.manifest.models["cnn"]
    model = bundle.read(entry.file)
    found = [probe(model, entry.quantization, _portrait_chips(), runtime) for runtime in available_runtimes()]
    for other in found[1:]:
        assert np.abs(other.scores - found[0].scores).max() < 0.1, other.runtime
    assert entry.quantization != "int8" or not any(p.float_tensors for p in found)
    assert EMOTIONS[int(found[0].scores[0].argmax())] == "happy"


def _portrait_chips() -> NDArray[np.uint8]:
    """The smiling face of scikit-image's astronaut, as it is and darker; roughly cut, no detector here."""
    pytest.importorskip("skimage", reason="has the portrait")
    import cv2
    from skimage.data import astronaut

    luma = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2GRAY)[70:190, 165:285]
    chip = np.asarray(cv2.resize(luma, (48, 48), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.stack([chip, (chip * 0.6).astype(np.uint8)])


def _plain_model(side: int, classes: int, *, softmax: bool) -> bytes:
    tf = pytest.importorskip("tensorflow", reason="makes its models with TensorFlow")
    weights = tf.constant(np.random.default_rng(0).normal(size=(side * side, classes)).astype(np.float32))

    def serve(chip: Any) -> Any:
        out = tf.reshape(tf.cast(chip, tf.float32), [1, -1]) @ weights
        return tf.nn.softmax(out) if softmax else out

    return _model(serve, side)


def _model(serve: Callable[[Any], Any], side: int) -> bytes:
    import tensorflow as tf

    from edge.inference.networks import quiet_stderr

    serve = tf.function(serve, input_signature=[tf.TensorSpec([1, side, side, 1], tf.uint8)])
    with quiet_stderr():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], None)  # type: ignore[attr-defined]
        return bytes(converter.convert())
