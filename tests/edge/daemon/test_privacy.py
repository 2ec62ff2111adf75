"""The pause is a file: it survives everything, and doubt keeps the camera closed."""

import os
from pathlib import Path

import msgspec
import pytest

from edge.daemon.privacy import FILE_NAME, PrivacyPause, pause, resume
from edge.errors import PrivacyError
from tests.fakes.clock import FakeClock

YEAR_S = 365 * 86_400.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def paused(folder: Path, clock: FakeClock) -> bool:
    privacy = PrivacyPause(folder, clock)
    privacy.look()
    return privacy.pause is not None


def test_a_command_pauses_and_another_ends_it(tmp_path: Path, clock: FakeClock) -> None:
    privacy = PrivacyPause(tmp_path, clock)
    assert not privacy.look()
    privacy.command(paused=True, for_s=None)
    assert privacy.look()
    assert privacy.pause is not None
    assert privacy.left_s() is None
    assert not privacy.look()
    privacy.command(paused=False, for_s=None)
    assert privacy.look()
    assert privacy.pause is None
    assert list(tmp_path.iterdir()) == []


def test_a_touched_file_pauses_and_its_removal_ends_it(tmp_path: Path, clock: FakeClock) -> None:
    privacy = PrivacyPause(tmp_path, clock)
    privacy.look()
    (tmp_path / FILE_NAME).touch()
    assert privacy.look()
    assert privacy.pause is not None
    (tmp_path / FILE_NAME).unlink()
    assert privacy.look()
    assert privacy.pause is None


@pytest.mark.parametrize("jump_s", [0.0, YEAR_S, -YEAR_S])
def test_a_limit_runs_out_in_time_whatever_the_date_does(tmp_path: Path, clock: FakeClock, jump_s: float) -> None:
    privacy = PrivacyPause(tmp_path, clock)
    privacy.command(paused=True, for_s=3600)
    privacy.look()
    clock.jump(jump_s)
    clock.pass_time(3599)
    privacy.look()
    assert privacy.pause is not None
    assert privacy.left_s() == pytest.approx(1)
    assert paused(tmp_path, clock), "so does a daemon that was started in between"
    clock.pass_time(1)
    assert privacy.look()
    assert privacy.pause is None
    assert not (tmp_path / FILE_NAME).exists()


def test_over_a_reboot_the_limit_goes_on_where_the_date_is_known(tmp_path: Path, clock: FakeClock) -> None:
    pause(tmp_path, 3600, clock)
    clock.reboot(away_s=3000)
    privacy = PrivacyPause(tmp_path, clock)
    privacy.look()
    assert privacy.left_s() == pytest.approx(600)
    clock.reboot(away_s=1000)
    assert not paused(tmp_path, clock)


def test_over_a_reboot_that_lost_the_date_the_limit_begins_anew(tmp_path: Path, clock: FakeClock) -> None:
    pause(tmp_path, 3600, clock)
    clock.knows_date = False
    clock.reboot(away_s=3000)
    privacy = PrivacyPause(tmp_path, clock)
    privacy.look()
    clock.jump(YEAR_S)  # the date becomes known
    clock.knows_date = True
    clock.pass_time(3590)
    privacy.look()
    assert privacy.left_s() == pytest.approx(10)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b'{"for_s": -1}', b'{"for_s": 5}', b'{"for_s": 1e300, "since": null}', b"[" * 4000,
     b'{"paused": false}', os.urandom(10_000)],
)  # fmt: skip
def test_a_file_that_says_nothing_sensible_is_a_pause_without_a_limit(
    tmp_path: Path, clock: FakeClock, content: bytes
) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    privacy = PrivacyPause(tmp_path, clock)
    privacy.look()
    assert privacy.pause is not None
    assert privacy.left_s() is None


def test_a_pipe_of_that_name_is_a_pause_and_hangs_nobody(tmp_path: Path, clock: FakeClock) -> None:
    os.mkfifo(tmp_path / FILE_NAME)
    assert paused(tmp_path, clock)


def test_a_folder_that_cannot_be_written_pauses_until_the_end_of_the_program(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "state"
    folder.write_text("a file where a folder should be: nobody can write into it, not even root")
    privacy = PrivacyPause(folder, clock)
    privacy.command(paused=True, for_s=60)
    privacy.look()
    assert privacy.pause is not None
    assert "cannot be written" in caplog.text
    clock.pass_time(61)
    privacy.look()
    assert privacy.pause is None
    with pytest.raises(PrivacyError, match="cannot be written"):
        pause(folder, None, clock)
    with pytest.raises(PrivacyError, match="cannot be written"):
        resume(folder)


def test_what_is_written_can_be_read_by_the_service_and_holds_the_limit(tmp_path: Path, clock: FakeClock) -> None:
    pause(tmp_path, 60, clock)
    path = tmp_path / FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o644
    assert msgspec.json.decode(path.read_bytes())["for_s"] == 60
    assert [found.name for found in tmp_path.iterdir()] == [FILE_NAME]
