"""Run an export: load, convert, verify, bundle. Importing this module does not load TensorFlow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bundles.place import check_place
from edge.errors import BundleError, UsageError
from edge.inference import available_runtimes, open_bundle
from edge.inference.manifest import MemberKind, NetworkKind, Quantization
from export.bundle import Outcome, describe, install, load_signer
from export.sources import Source, check_data, open_source
from export.verify import (
    KnnOutcome,
    NetworkOutcome,
    Weights,
    choose_weights,
    mean_scores,
    measure_knn,
    verify,
)
from train.data.dataset import Dataset, landmark_cache, load_dataset
from train.metrics import Summary, summarise

Report = Callable[[str], None]
LIMIT_BYTES: Mapping[NetworkKind, int] = {"cnn": 1_000_000, "vgg": 16_000_000}
"""Largest int8 network of each kind that may be exported."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to export, and where to."""

    models: tuple[Path, ...]
    """run folders or .keras files, at most one of each kind"""
    data: Path
    out: Path
    quantization: Quantization = "int8"
    name: str | None = None
    """of the bundle; None: the first network's name and the quantization"""
    key: Path | None = None
    """private key that signs the bundle; None: unsigned"""
    knn: Path | None = None
    """pickled landmark KNN"""
    equal: bool = False
    """an ensemble of the networks alone, each weighing the same, instead of weights chosen on the validation part"""


def export(request: Request, *, report: Report = lambda _line: None) -> Outcome:
    """Convert trained networks, and install them as a bundle if they pass every check.

    Raises `UsageError`: there is no such model, two are of one kind, the target folder holds something else, or the key
    cannot sign.
    Raises `DataError`: the data set is damaged, has an empty part, or is not the one that a model was trained on.
    Raises `EmotionEdgeError`: a network cannot be converted or run.
    """
    check_place(request.out)
    sign = None if request.key is None else load_signer(request.key)
    dataset = load_dataset(request.data)
    fingerprints = {check_data(dataset, request.data, model) for model in request.models} - {None}
    knn = None if request.knn is None else _knn(request, dataset, report)
    networks: list[NetworkOutcome] = []
    name = request.name
    for model in request.models:
        report(f"loading {model}")
        source = open_source(model)
        if source.kind in {network.kind for network in networks}:
            raise UsageError(f"{model}: a second {source.kind} network; a bundle holds one of each kind")
        reference = float_scores(source, dataset)
        networks.append(convert_and_verify(source, reference, request.quantization, dataset, report=report))
        name = name or f"{source.name}-{request.quantization}"
    assert name is not None
    outcome = Outcome(name, tuple(networks), knn)
    weights, ensemble = _ensemble(outcome.scores, networks, dataset, equal=request.equal)
    outcome = replace(outcome, weights=weights, ensemble=ensemble)
    if outcome.missed:
        return outcome
    manifest, files = describe(outcome, dataset, next(iter(fingerprints), None))
    install(request.out, manifest, files, sign)
    return replace(outcome, identity=open_bundle(request.out).identity)


def convert_and_verify(
    source: Source,
    reference: NDArray[np.float32],
    quantization: Quantization,
    dataset: Dataset,
    *,
    threads: tuple[int, ...] = (1,),
    report: Report,
) -> NetworkOutcome:
    """Convert one network, and compare it with the float network on every runtime.

    ``reference``: its `float_scores`.
    Raises `EmotionEdgeError`: it cannot be converted, or a runtime cannot run it.
    Raises `BundleError`: there is no runtime to verify with.
    """
    runtimes = available_runtimes()
    if not runtimes:
        raise BundleError("no TFLite runtime to verify with; install one with: pip install ai-edge-litert")
    from export.quantize.convert import convert
    from export.quantize.representative import representative_chips

    report(f"{source.kind}: converting to {quantization}")
    chips, calibration = representative_chips(dataset) if quantization == "int8" else (dataset.images[:0], {})
    content = convert(source.network, quantization, chips)
    report(f"{source.kind}: verifying on {', '.join(runtimes)}")
    limit = LIMIT_BYTES[source.kind] if quantization == "int8" else None
    verification = verify(content, quantization, reference, dataset, runtimes, threads=threads, limit_bytes=limit)
    return NetworkOutcome(
        source.kind, quantization, content, source.parameters, source.macs, calibration, source.origin, verification
    )


def float_scores(source: Source, dataset: Dataset) -> NDArray[np.float32]:
    """Return what a network says before it is converted: [n, 5] of the validation part, then of the test part."""
    return source.scores(dataset.images[np.concatenate([dataset.select("validation"), dataset.select("test")])])


def _knn(request: Request, dataset: Dataset, report: Report) -> KnnOutcome:
    from train.data.landmarks import read_landmarks

    assert request.knn is not None
    validation = dataset.select("validation")
    rows = np.concatenate([validation, dataset.select("test")])
    report(f"finding the landmarks of {len(rows):,} pictures")
    found = read_landmarks(dataset.images[rows], cache=landmark_cache(request.data))
    return measure_knn(request.knn, found.points, dataset.labels[rows], len(validation))


def _ensemble(
    scores: Mapping[MemberKind, NDArray[np.float32]],
    networks: Sequence[NetworkOutcome],
    dataset: Dataset,
    *,
    equal: bool,
) -> tuple[Weights, tuple[Summary, Summary] | None]:
    validation, labels = dataset.select("validation"), dataset.labels[dataset.select("test")]
    n = len(validation)
    if len(scores) < 2:
        return {}, None
    if equal:
        weights: Weights = {network.kind: round(1 / len(networks), 4) for network in networks}
    else:
        weights = choose_weights({kind: found[:n] for kind, found in scores.items()}, dataset.labels[validation])
    if len(weights) < 2:
        return {}, None
    single = {kind: found[n:] for kind, found in scores.items()}
    both = single | {network.kind: network.verification.mirrored for network in networks}
    return weights, (summarise(mean_scores(single, weights), labels), summarise(mean_scores(both, weights), labels))
