"""The service under a real systemd, in a container: opt-in, as it takes minutes and needs root."""

import os
from pathlib import Path

import pytest

from benchmarks.faults.service import missing, run

ASKED_FOR = "EMOTION_EDGE_SERVICE_TEST"


@pytest.mark.service
@pytest.mark.timeout(1200)
def test_the_service_lives_as_a_device_needs_it() -> None:
    if not os.environ.get(ASKED_FOR):
        pytest.skip(f"takes minutes: {ASKED_FOR}=1, or ={{folder of wheels}}, and root")
    if reason := missing():
        pytest.skip(reason)
    folder = Path(os.environ[ASKED_FOR])
    rows = run(folder if folder.is_dir() else None)
    assert [f"{row['check']}: due {row['due']}, found {row['found']}" for row in rows if not row["ok"]] == []
    assert len(rows) > 20
