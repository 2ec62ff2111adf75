"""Which bundle runs: the setting ``bundle``, else the store's current one, else the one that ships."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from edge.bundles.self_test import load_tested
from edge.bundles.store import BundleStore
from edge.errors import BundleError
from edge.inference import Classifier
from edge.inference.signature import load_trusted_keys
from edge.settings import Settings

log = logging.getLogger(__name__)


def chosen_bundle(settings: Settings) -> Path | None:
    """Return the folder of the chosen bundle, unopened; None for the one that ships.

    Raises `BundleError`: the store's choice is damaged.
    """
    if settings.bundle:
        return Path(settings.bundle)
    if not settings.state_dir:
        return None
    store = BundleStore.of(settings.state_dir)
    chosen = store.selection()
    return store.path_of(chosen.current if chosen else None)


def load_chosen(settings: Settings) -> Classifier:
    """Load and self-test the chosen bundle, and no other.

    Raises `ConfigError`: ``bundle_key`` names no file of public keys, or they cannot be used.
    Raises `BundleError`: the bundle is refused, cannot run here, or fails its self-test.
    """
    return load_tested(chosen_bundle(settings), settings.classifier, load_trusted_keys(settings.bundle_key))


def load_chosen_or_previous(settings: Settings) -> Classifier:
    """Load the chosen bundle; if the store's current one fails, its previous one or the one that ships.

    So a device with a damaged card keeps working; its log, ``health`` and every event name the bundle that runs. The
    setting ``bundle`` has no fallback.

    Raises `ConfigError`: ``bundle_key`` names no file of public keys, or they cannot be used.
    Raises `BundleError`: no bundle works; the message says why the first one does not.
    """
    try:
        return load_chosen(settings)
    except BundleError as error:
        if settings.bundle:
            raise
        first = error
    keys = load_trusted_keys(settings.bundle_key)
    for folder in _others(settings):
        try:
            classifier = load_tested(folder, settings.classifier, keys)
        except BundleError as error:
            log.warning("%s", error)
            continue
        log.error("%s; running %s instead", first, classifier.name)
        return classifier
    raise first


def _others(settings: Settings) -> Iterator[Path | None]:
    """The fallbacks of the store's current bundle: its previous one, then the one that ships."""
    if not settings.state_dir:
        return
    store = BundleStore.of(settings.state_dir)
    with suppress(BundleError):
        chosen = store.selection()
        if chosen is None:
            return  # the one that ships has just failed
        if chosen.previous is not None:
            yield store.path_of(chosen.previous)
        if chosen.current is None:
            return
    yield None
