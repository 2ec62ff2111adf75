"""Networks read from arrays: the same function as the arrays describe, in a run folder like any other."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.cli.support import run
from edge.errors import DataError
from train.cli import app
from train.data.dataset import Dataset
from train.networks.backend import choose_backend

choose_backend()
with warnings.catch_warnings():  # TensorFlow's own imports are deprecated here and there
    warnings.simplefilter("ignore")
    pytest.importorskip("keras", reason="needs the train extra")
    from train.networks.plain import load_arrays
    from train.scoring import score

pytestmark = pytest.mark.training

Arrays = dict[str, NDArray[np.generic]]


def arrays(channels: tuple[int, ...] = (4, 4, 6, 6), classes: int = 7) -> Arrays:
    rng = np.random.default_rng(0)
    found: Arrays = {}
    inputs = 1
    for index, count in enumerate(channels):
        found[f"conv{index}_kernel"] = rng.normal(0, 0.4, size=(3, 3, inputs, count)).astype(np.float16)
        found[f"conv{index}_gamma"] = rng.uniform(0.5, 1.5, count).astype(np.float32)
        found[f"conv{index}_beta"] = rng.normal(0, 0.3, count).astype(np.float32)
        found[f"conv{index}_mean"] = rng.normal(0, 0.3, count).astype(np.float32)
        found[f"conv{index}_variance"] = rng.uniform(0.5, 2, count).astype(np.float32)
        inputs = count
    found["dense_kernel"] = rng.normal(0, 1, size=(inputs, classes)).astype(np.float16)
    found["dense_bias"] = rng.normal(0, 1, size=classes).astype(np.float32)
    return found


def stored(path: Path, content: Arrays) -> Path:
    np.savez(path, **content)
    return path


def computed(content: Arrays, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The network step by step in numpy, from the description in the docs: scores of the five emotions."""
    x = image[..., None] / 127.5 - 1
    w = {key: value.astype(np.float64) for key, value in content.items()}
    for index in range(len([key for key in w if key.endswith("_kernel") and key.startswith("conv")])):
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        windows = np.array([[padded[i : i + len(x), j : j + len(x)] for j in range(3)] for i in range(3)])
        x = np.einsum("ijhwc,ijco->hwo", windows, w[f"conv{index}_kernel"])
        scale = w[f"conv{index}_gamma"] / np.sqrt(w[f"conv{index}_variance"] + 1e-5)
        x = np.maximum((x - w[f"conv{index}_mean"]) * scale + w[f"conv{index}_beta"], 0)
        if index % 2:
            height, width, count = x.shape
            x = x.reshape(height // 2, 2, width // 2, 2, count).max(axis=(1, 3))
    logits = (x.mean(axis=(0, 1)) @ w["dense_kernel"] + w["dense_bias"])[:5]
    likely = np.exp(logits - logits.max())
    return np.asarray(likely / likely.sum())


@pytest.mark.parametrize("classes", [5, 7])
def test_import_keeps_the_function_of_the_arrays(
    classes: int, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.save(tmp_path / "made.npz")
    content = arrays(classes=classes)
    words = ["import", str(stored(tmp_path / "net.npz", content)), "--data", str(tmp_path / "made.npz")]
    assert run(app, [*words, "--run", str(tmp_path / "run")], name="python -m train") == 0
    images = dataset.images[:4]
    expected = [computed(content, image) for image in images]
    np.testing.assert_allclose(score(tmp_path / "run", images), expected, atol=1e-4)

    noted = json.loads((tmp_path / "run/result.json").read_text())
    assert noted["network"]["name"] == "device_cnn"
    assert noted["data_fingerprint"] == dataset.fingerprint()
    assert "may have been trained on these pictures" in noted["validation"]["note"]
    assert (tmp_path / "run/report.html").is_file()
    assert run(app, [*words, "--run", str(tmp_path / "run")], name="python -m train") == 2
    assert "already holds a run" in capsys.readouterr().err


def test_import_as_vgg_names_the_network_so(dataset: Dataset, tmp_path: Path) -> None:
    from train.fit.imported import import_network

    path = stored(tmp_path / "net.npz", arrays())
    assert import_network(path, dataset, tmp_path / "run", kind="vgg").name == "vgg_plain"


def changed(**changes: NDArray[np.generic] | None) -> Arrays:
    content = arrays()
    for key, value in changes.items():
        if value is None:
            del content[key]
        else:
            content[key] = value
    return content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed(conv1_beta=None), r"net\.npz: has no array conv1_beta"),
        (changed(conv2_kernel=None), "expected an even number of convolutions from 2 to 10, found 3"),
        (changed(conv1_kernel=np.zeros((3, 3, 5, 4))), r"conv1_kernel must be \[3, 3, 4, 4\], found \[3, 3, 5, 4\]"),
        (changed(conv0_mean=np.full(4, np.nan)), "conv0_mean holds values that are not finite numbers"),
        (changed(dense_kernel=np.zeros((6, 6)), dense_bias=np.zeros(6)), "must have 5 or 7 outputs, found 6"),
        (changed(dense_bias=np.array(["a", "b"])), r"not an \.npz file of a network's arrays"),
        (changed(dense_bias=np.array([None])), r"not an \.npz file of a network's arrays"),
        ({}, "expected an even number of convolutions from 2 to 10, found 0"),
    ],
)
def test_arrays_that_are_no_such_network_are_named(content: Arrays, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        load_arrays(stored(tmp_path / "net.npz", content), name="device_cnn")


def test_a_file_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_arrays(tmp_path / "net.npz", name="device_cnn")
    (tmp_path / "net.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(DataError, match=r"net\.npz: not an \.npz file"):
        load_arrays(tmp_path / "net.npz", name="device_cnn")
