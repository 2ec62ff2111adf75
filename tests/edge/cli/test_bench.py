"""The benchmark runs the daemon's own loop and tells what it saw."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge.cli import app
from edge.cli.measure import run_bench
from edge.cli.support import run
from edge.errors import CameraError
from edge.settings import MqttSettings, Settings
from edge.stages import Stages, percentile


def test_it_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skimage", reason="scikit-image is not installed: pip install '.[demo]'")
    assert run(app, ["bench", "--camera", "demo:?pace=fast", "--frames", "100", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["frames"], result["width"], result["height"], result["visits"]) == (100, 640, 480, 1)
    assert 0.1 < result["face_recall"] < 1
    stages = result["stages"]
    assert list(stages) == ["capture", "detect", "landmarks", "chip", "classify", "smooth", "publish", "total"]
    assert stages["total"]["frames"] == stages["capture"]["frames"] == 100
    assert stages["chip"]["frames"] >= round(100 * result["face_recall"])
    parts = sum(stages[name]["cpu_ms_per_frame"] for name in ("total", "smooth", "publish"))
    assert result["cpu_ms_per_frame"] >= 0.9 * parts > 0


def test_the_table_names_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skimage", reason="scikit-image is not installed: pip install '.[demo]'")
    assert run(app, ["bench", "--camera", "demo:?pace=fast", "--frames", "3"]) == 0
    shown = capsys.readouterr().out
    for word in ("3 frames of 640x480", "landmarks", "classify", "CPU a frame", "peak memory"):
        assert word in shown


def test_bench_report_is_a_row_of_the_table_in_the_docs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, ["bench", "--camera", "demo:?pace=fast", "--frames", "3", "--report"]) == 0
    [row] = capsys.readouterr().out.splitlines()
    page = (Path(__file__).parents[3] / "docs/platforms.md").read_text()
    header = next(line for line in page.splitlines() if line.startswith("| board | system"))
    assert row.count("|") == header.count("|")
    assert "| 640x480 |" in row


def test_a_clip_that_is_not_there_is_an_error() -> None:
    with pytest.raises(CameraError, match="no such clip"):
        run_bench(Settings(camera="file:/nowhere.mp4"))


def test_bench_needs_no_broker_whatever_its_settings_say(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="scikit-image is not installed: pip install '.[demo]'")
    mqtt = MqttSettings(url="mqtts://broker", username="pi", password_file="/nowhere", ca_file="/nowhere.pem")
    settings = Settings(camera="demo:?pace=fast", state_dir=str(tmp_path), mqtt=mqtt)
    assert run_bench(settings, frames=1).frames == 1


def test_parts_of_a_stage_add_up_within_a_frame() -> None:
    stages = Stages(kept=2, with_cpu=True)
    for _ in range(3):
        for _ in range(4):
            with stages.measure("chip"):
                np.ones((50, 50)).sum()
        stages.end_frame()
    assert len(stages.wall_ms("chip")) == len(stages.cpu_ms("chip")) == 2
    assert min(stages.wall_ms("chip")) > 0
    assert stages.wall_ms("detect") == []
    assert stages.median_ms("total") == 0


def test_percentiles() -> None:
    assert percentile([], 95) == 0
    assert percentile([float(n) for n in range(101)], 95) == pytest.approx(95)
