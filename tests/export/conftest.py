"""A tiny network that was trained for a few seconds, and the made pictures it was trained on."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from train.data.dataset import PARTS, Dataset


@dataclass(frozen=True, slots=True)
class Trained:
    """What an export starts from."""

    model: Path
    """.keras file"""
    data: Path
    """prepared data set"""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    pytest.importorskip("tensorflow", reason="trains a network")
    import keras

    from train.networks.residual import ResidualShape, residual_cnn

    folder = tmp_path_factory.mktemp("trained")
    dataset = striped_contrasts(700)
    dataset.save(folder / "data.npz")
    keras.utils.set_random_seed(0)
    network = residual_cnn(ResidualShape(stem=8, stages=(8,), blocks=(1,), dropout=0))
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    network.optimizer.learning_rate = 0.01
    rows = dataset.select("train")
    network.fit(dataset.images[rows][..., None], dataset.labels[rows], epochs=8, batch_size=25, verbose=0)
    network.save(folder / "model.keras")
    return Trained(folder / "model.keras", folder / "data.npz")


def striped_contrasts(n: int) -> Dataset:
    """Pictures whose class shows as the contrast of their stripes, easy to tell apart."""
    rng = np.random.default_rng(0)
    labels = (np.arange(n) % 5).astype(np.int8)
    stripes = (np.arange(48) // 4 % 2)[None, None, :] * (20 + 45 * labels.astype(int)[:, None, None])
    images = (stripes + rng.integers(0, 40, size=(n, 48, 48))).clip(0, 255).astype(np.uint8)
    parts = np.full(n, PARTS.index("train"), dtype=np.uint8)
    parts[n // 2 :] = PARTS.index("validation")
    parts[-n // 5 :] = PARTS.index("test")
    return Dataset(images, labels, parts, None, {"source": "made"})


@pytest.fixture(scope="session")
def trained_vgg(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A VGG of a sixteenth of the channels, on the same pictures."""
    import keras

    from train.data.dataset import load_dataset
    from train.networks.plain import VGG16_CHANNELS, VGG16_POOLS, plain_cnn

    folder = tmp_path_factory.mktemp("vgg")
    dataset = load_dataset(trained.data)
    keras.utils.set_random_seed(0)
    network = plain_cnn([n // 16 for n in VGG16_CHANNELS], pools=VGG16_POOLS, name="vgg16")
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    rows = dataset.select("train")
    network.fit(dataset.images[rows][..., None], dataset.labels[rows], epochs=12, batch_size=25, verbose=0)
    network.save(folder / "model.keras")
    return Trained(folder / "model.keras", trained.data)


@pytest.fixture(scope="session")
def knn_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A landmark KNN as training pickles it; it guesses, for the made pictures have no faces."""
    neighbors = pytest.importorskip("sklearn.neighbors", reason="the landmark KNN is scikit-learn's")
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from edge.faces.distances import landmark_features

    rng = np.random.default_rng(0)
    labels = np.arange(60) % 5
    points = (rng.normal(size=(5, 68, 2))[labels] + 0.1 * rng.normal(size=(60, 68, 2))).astype(np.float32)
    knn = neighbors.KNeighborsClassifier(15, algorithm="brute")
    made = make_pipeline(StandardScaler(), LinearDiscriminantAnalysis(), knn).fit(landmark_features(points), labels)
    path = tmp_path_factory.mktemp("knn") / "landmark-knn.pkl"
    path.write_bytes(pickle.dumps(made, protocol=4))
    return path
