"""Emotions of very many photos: ``python examples/dask_photos.py PHOTOS OUT [--scheduler tcp://host:8786]``.

PHOTOS is a folder or a bucket (``s3://…``, ``gs://…``, whatever fsspec can open), OUT a folder or a bucket for Parquet
files, a row for each face; a photo without one has a row too, and one that cannot be read has its ``error``. Each file
holds a batch of photos and is named after them, so a run that was interrupted goes on where it was: run it again.
Without ``--scheduler`` the cores of this machine do the work. Needs ``pip install distributed pyarrow``, with numpy 1
``'pyarrow<22'``.
"""

import argparse
import hashlib
import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from distributed import Client, LocalCluster, as_completed

from edge import EMOTIONS, EmotionAnalyzer, ImageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
SCHEMA = pa.schema([
    ("photo", pa.string()), ("face", pa.int16()), ("emotion", pa.string()), ("confidence", pa.float32()),
    *((name, pa.int32()) for name in ("x", "y", "width", "height")),
    *((str(emotion), pa.float32()) for emotion in EMOTIONS), ("error", pa.string()),
])  # fmt: skip


@cache
def analyzer() -> EmotionAnalyzer:
    """Load the models, once in each worker."""
    return EmotionAnalyzer()


def work(photos: list[str], target: str) -> int:
    """Write the faces of a batch of photos into a Parquet file; return how many photos it had. Runs in a worker."""
    rows: list[dict[str, Any]] = []
    for photo in photos:
        try:
            with fsspec.open(photo, "rb") as file:
                faces = analyzer().analyze(file.read())
        except (ImageError, OSError) as error:
            rows.append({"photo": photo, "error": str(error)})
            continue
        rows += [
            {
                "photo": photo, "face": number, "emotion": face.emotion, "confidence": face.confidence,
                "x": face.box.x, "y": face.box.y, "width": face.box.width, "height": face.box.height, **face.scores,
            }
            for number, face in enumerate(faces)
        ] or [{"photo": photo}]  # fmt: skip
    files, path = fsspec.url_to_fs(target)
    with files.open(f"{path}.part", "wb") as file:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), file)
    files.mv(f"{path}.part", path)  # a batch is there as a whole or not at all
    return len(photos)


def batches(photos: str, out: str, size: int) -> Iterator[tuple[list[str], str]]:
    """Yield the batches that are not done: photos, and the file for their faces."""
    files, root = fsspec.url_to_fs(photos)
    names = sorted(files.unstrip_protocol(name) for name in files.find(root) if name.lower().endswith(SUFFIXES))
    target, folder = fsspec.url_to_fs(out)
    target.makedirs(folder, exist_ok=True)
    done = {os.path.basename(name) for name in target.find(folder)}  # noqa: PTH119 - names of a bucket are no paths
    for start in range(0, len(names), size):
        batch = names[start : start + size]
        name = f"faces-{hashlib.sha256(chr(0).join(batch).encode()).hexdigest()[:16]}.parquet"
        if name not in done:
            yield batch, f"{target.unstrip_protocol(folder)}/{name}"


def main() -> None:
    """Hand all batches to the workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("out")
    parser.add_argument("--scheduler", help="address of a Dask cluster whose workers have emotion-edge")
    parser.add_argument("--batch", type=int, default=200, help="photos in one file")
    given = parser.parse_args()
    cluster = given.scheduler or LocalCluster(n_workers=os.cpu_count(), threads_per_worker=1, dashboard_address=None)
    with Client(cluster) as client:
        left = list(batches(given.photos, given.out, given.batch))
        photos = sum(len(batch) for batch, _ in left)
        print(f"{photos} photos to do, on {len(client.scheduler_info()['workers'])} workers")
        done = 0
        for future in as_completed(client.submit(work, *one, pure=False) for one in left):
            done += future.result()
            print(f"{done} of {photos}")
    if not given.scheduler:
        cluster.close()


if __name__ == "__main__":
    main()
