"""Where a bundle comes from: a folder, an archive, or an https address of an archive."""

from pathlib import Path

from edge.bundles.archive import MAX_ARCHIVE_BYTES, unpack
from edge.bundles.files import Files
from edge.download import download_secure
from edge.errors import BundleError


def bring(source: str, scratch: Path, files: Files | None = None) -> Path:
    """Return the folder of a bundle that somebody names; what is not a folder yet becomes one in ``scratch``.

    Nothing in the folder has been verified: `edge.inference.open_bundle` does that.

    Raises
    ------
    BundleError
        There is nothing there, the address cannot be fetched, or the archive is refused.
    """
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
