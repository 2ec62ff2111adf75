"""`emotion-edge bench`: what a frame costs on this machine, stage by stage."""

from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from edge.cli.options import AsJson, Bundle, CameraFlip, CameraRotate, Config
from edge.cli.support import echo_json


def bench(
    camera: Annotated[str | None, typer.Option(help="As for run; every frame of a clip is processed, once.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many; needed for a live camera.")] = None,
    config: Config = None,
    bundle: Bundle = None,
    camera_rotate: CameraRotate = None,
    camera_flip: CameraFlip = None,
    *,
    as_json: AsJson = False,
    as_report: Annotated[bool, typer.Option("--report", help="Print one row for docs/platforms.md.")] = False,
) -> None:
    """Measure what a frame costs here, stage by stage, in the daemon's own loop; nothing is sent to a broker."""
    from edge.cli.measure import run_bench
    from edge.settings import load_settings

    flags = {"camera": camera, "bundle": bundle, "camera_rotate": camera_rotate, "camera_flip": camera_flip}
    result = run_bench(load_settings(config, flags=flags), frames=frames)
    if as_json:
        echo_json(result)
    elif as_report:
        typer.echo(report_row(result))
    else:
        show(result, Console())


class StageCost(msgspec.Struct, frozen=True, kw_only=True):
    """One stage, over the frames that had it; ``capture`` is decoding, or waiting for a live camera."""

    frames: int
    median_ms: float
    p95_ms: float
    cpu_median_ms: Annotated[float, msgspec.Meta(description="of the thread's CPU time")]
    cpu_p95_ms: float
    cpu_ms_per_frame: Annotated[
        float, msgspec.Meta(description="CPU time of the stage, divided by all frames, also those without it")
    ]


class BenchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What ``bench --json`` prints."""

    camera: str
    width: int
    height: int
    frames: int
    cpu_ms_per_frame: float
    """CPU time of the whole process from the frame in memory to its emotion and events; decoding apart"""
    frames_per_s: float
    """by the wall clock, decoding apart"""
    capture_cpu_ms_per_frame: float
    face_recall: float
    """share of the frames in which a face was found"""
    visits: int
    """different faces, as the events number them"""
    peak_memory_mb: float
    """peak resident set, megabytes of 10^6 bytes"""
    startup_s: float
    """from the start of the process until it could take the first frame"""
    startup_cpu_s: float
    stages: dict[str, StageCost]
    bundle: str
    version: str
    cores: int


def report_row(result: BenchResult) -> str:
    """Return the result as a row of the table of measured boards in docs/platforms.md."""
    import datetime as dt
    import platform

    from edge.settings.profiles import board_model

    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]  # PRETTY_NAME is always there
    except OSError:
        system = platform.system()
    cells = (
        board_model() or platform.machine(),
        f"{system}, Python {platform.python_version()}",
        f"{result.width}x{result.height}",
        f"{result.cpu_ms_per_frame:.1f}",
        f"{result.frames_per_s:.0f}",
        f"{result.peak_memory_mb:.0f}",
        f"{result.startup_s:.1f}",
        f"{result.version}, {result.bundle}",
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
    )
    return f"| {' | '.join(cells)} |"


def show(result: BenchResult, console: Console) -> None:
    """Print the result as a table."""
    console.print(
        f"{result.camera}, {result.frames} frames of {result.width}x{result.height}, {result.bundle}", soft_wrap=True
    )
    table = Table()
    for name in ("ms", "frames", "median", "p95", "CPU median", "CPU p95", "CPU a frame"):
        table.add_column(name, justify="left" if name == "ms" else "right", no_wrap=True)
    for name, cost in result.stages.items():
        values = (cost.median_ms, cost.p95_ms, cost.cpu_median_ms, cost.cpu_p95_ms, cost.cpu_ms_per_frame)
        table.add_row(name, str(cost.frames), *(f"{value:.3f}" for value in values))
    console.print(table)
    figures = {
        "CPU a frame, from memory to events": f"{result.cpu_ms_per_frame:.3f} ms",
        "frames a second": f"{result.frames_per_s:.0f}",
        "decoding, CPU a frame": f"{result.capture_cpu_ms_per_frame:.3f} ms",
        "frames with a face": f"{result.face_recall:.1%}",
        "visits": str(result.visits),
        "peak memory": f"{result.peak_memory_mb:.0f} MB",
        "start until ready": f"{result.startup_s:.2f} s ({result.startup_cpu_s:.2f} s of CPU)",
    }
    for name, figure in figures.items():
        console.print(f"{name:36}{figure}", highlight=False, soft_wrap=True)
