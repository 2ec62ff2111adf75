"""Opens a bundle from a folder, an archive, or the https address of an archive."""

from pathlib import Path

from edge.bundles.archive import MAX_ARCHIVE_BYTES, unpack
from edge.download import download_secure
from edge.errors import BundleError
from edge.files import Files
from edge.inference import Bundle, open_bundle
from edge.inference.signature import TrustedKeys


def bring(source: str, scratch: Path, keys: TrustedKeys | None, files: Files | None = None) -> Bundle:
    """Open the bundle at ``source``; an archive is downloaded and unpacked into ``scratch`` first.

    ``keys``: as for `edge.inference.open_bundle`.
    Raises `BundleError`: nothing is there, the address cannot be downloaded, or the archive or bundle is refused. The
    message names the source, not the folder it was unpacked to.
    """
    folder = _folder(source, scratch, files)
    try:
        return open_bundle(folder, keys)
    except BundleError as error:
        raise BundleError(str(error).replace(str(folder), source, 1)) from None


def _folder(source: str, scratch: Path, files: Files | None) -> Path:
    if "://" in source:
        archive = download_secure(source, scratch / "download", MAX_ARCHIVE_BYTES)
        try:
            return unpack(archive, scratch / "unpacked", files)
        except BundleError as error:
            raise BundleError(f"{source}: {error}") from None
        finally:
            archive.unlink()
    path = Path(source)
    if path.is_dir():
        return path
    if not path.exists():
        raise BundleError(f"{source}: no such folder or archive")
    return unpack(path, scratch / "unpacked", files)
