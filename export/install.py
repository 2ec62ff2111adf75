"""Puts an exported bundle in its place, signed if a key is given."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from edge.bundles.place import install_in_place
from edge.inference import load_classifier
from edge.inference.manifest import MANIFEST_NAME, FileEntry, Manifest, encode_manifest
from edge.inference.signature import SIGNATURE_NAME


def file_entries(files: Mapping[str, bytes]) -> dict[str, FileEntry]:
    """Describe files for a manifest."""
    return {
        name: FileEntry(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        for name, content in files.items()
    }


def install(
    out: Path, manifest: Manifest, files: Mapping[str, bytes], sign: Callable[[bytes], bytes] | None = None
) -> None:
    """Write a bundle beside its place, open it as the device would, then switch it in.

    Parameters
    ----------
    sign
        Of `export.sign.load_signer`; None leaves the bundle unsigned.

    Raises
    ------
    UsageError
        The place holds something other than a bundle.
    BundleError
        The device would refuse what was written; nothing changed.
    """
    raw = encode_manifest(manifest)
    signature = {} if sign is None else {SIGNATURE_NAME: sign(raw)}

    def check(folder: Path) -> None:
        for kind in manifest.classifiers():
            load_classifier(folder, kind)

    install_in_place(out, {**files, MANIFEST_NAME: raw, **signature}, check)
