"""Model bundles and the classifiers in them. `load_classifier` loads a TFLite runtime; importing this does not."""

from edge.inference.bundle import Bundle, open_bundle, shipped_bundle
from edge.inference.classifier import Classifier, load_classifier, load_network
from edge.inference.manifest import Manifest
from edge.inference.networks import TfliteClassifier, available_runtimes, open_interpreter

__all__ = [
    "Bundle",
    "Classifier",
    "Manifest",
    "TfliteClassifier",
    "available_runtimes",
    "load_classifier",
    "load_network",
    "open_bundle",
    "open_interpreter",
    "shipped_bundle",
]
