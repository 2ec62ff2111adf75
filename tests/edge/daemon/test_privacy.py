"""The pause is a file: it survives everything, and doubt keeps the camera closed."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edge.daemon.privacy import FILE_NAME, PrivacyPause, pause, resume
from edge.errors import PrivacyError
from edge.events.payloads import PrivacyCommand
from edge.files import Files
from tests.edge.daemon.test_loop import HAPPY, Run, a_face, clip
from tests.fakes.broker import FakePublisher
from tests.fakes.clock import FakeClock
from tests.fakes.disk import FragileDisk, Loss, PowerCut

YEAR_S = 365 * 86_400.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def paused(folder: Path, clock: FakeClock) -> bool:
    privacy = PrivacyPause(folder, clock)
    privacy.check()
    return privacy.pause is not None


def test_a_command_pauses_and_another_ends_it(tmp_path: Path, clock: FakeClock) -> None:
    privacy = PrivacyPause(tmp_path, clock)
    assert not privacy.check()
    privacy.command(paused=True, for_s=None)
    assert privacy.check()
    assert privacy.pause is not None
    assert privacy.left_s() is None
    assert not privacy.check()
    privacy.command(paused=False, for_s=None)
    assert privacy.check()
    assert privacy.pause is None
    assert list(tmp_path.iterdir()) == []


def test_privacy_pause_and_its_end_survive_a_power_cut(tmp_path: Path, clock: FakeClock) -> None:
    disk = FragileDisk()
    pause(tmp_path, None, clock, disk)
    disk.lose("everything")
    assert paused(tmp_path, clock)
    disk = FragileDisk()
    resume(tmp_path, disk)
    disk.lose("everything")
    assert not paused(tmp_path, clock)


@pytest.mark.parametrize("loss", ["nothing", "contents", "everything"])
def test_privacy_never_reads_half_a_pause_after_a_power_cut(tmp_path: Path, clock: FakeClock, loss: Loss) -> None:
    disk = FragileDisk()
    pause(tmp_path, 60, clock, disk)
    steps = len(disk.steps)
    disk.lose("nothing")
    for cut_at in range(steps):
        resume(tmp_path)
        disk = FragileDisk(cut_at=cut_at)
        with pytest.raises(PowerCut):
            pause(tmp_path, 60, clock, disk)
        disk.lose(loss)
        privacy = PrivacyPause(tmp_path, clock)
        privacy.check()
        assert privacy.pause is None or privacy.pause.for_s == 60


def test_a_touched_file_pauses_and_its_removal_ends_it(tmp_path: Path, clock: FakeClock) -> None:
    privacy = PrivacyPause(tmp_path, clock)
    privacy.check()
    (tmp_path / FILE_NAME).touch()
    assert privacy.check()
    assert privacy.pause is not None
    (tmp_path / FILE_NAME).unlink()
    assert privacy.check()
    assert privacy.pause is None


@pytest.mark.parametrize("jump_s", [0.0, YEAR_S, -YEAR_S])
def test_a_limit_runs_out_in_time_whatever_the_date_does(tmp_path: Path, clock: FakeClock, jump_s: float) -> None:
    privacy = PrivacyPause(tmp_path, clock)
    privacy.command(paused=True, for_s=3600)
    privacy.check()
    clock.jump(jump_s)
    clock.pass_time(3599)
    privacy.check()
    assert privacy.pause is not None
    assert privacy.left_s() == pytest.approx(1)
    assert paused(tmp_path, clock), "so does a daemon that was started in between"
    clock.pass_time(1)
    assert privacy.check()
    assert privacy.pause is None
    assert not (tmp_path / FILE_NAME).exists()


def test_over_a_reboot_the_limit_goes_on_where_the_date_is_known(tmp_path: Path, clock: FakeClock) -> None:
    pause(tmp_path, 3600, clock)
    clock.reboot(away_s=3000)
    privacy = PrivacyPause(tmp_path, clock)
    privacy.check()
    assert privacy.left_s() == pytest.approx(600)
    clock.reboot(away_s=1000)
    assert not paused(tmp_path, clock)


def test_over_a_reboot_that_lost_the_date_the_limit_begins_anew(tmp_path: Path, clock: FakeClock) -> None:
    pause(tmp_path, 3600, clock)
    clock.knows_date = False
    clock.reboot(away_s=3000)
    privacy = PrivacyPause(tmp_path, clock)
    privacy.check()
    clock.jump(YEAR_S)  # the date becomes known
    clock.knows_date = True
    clock.pass_time(3590)
    privacy.check()
    assert privacy.left_s() == pytest.approx(10)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b'{"for_s": -1}', b'{"for_s": 5}', b'{"for_s": 1e300, "since": null}', b"[" * 4000,
     b'{"paused": false}', os.urandom(10_000)],
)  # fmt: skip
def test_file_without_sense_is_a_pause_without_a_limit(tmp_path: Path, clock: FakeClock, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    privacy = PrivacyPause(tmp_path, clock)
    privacy.check()
    assert privacy.pause is not None
    assert privacy.left_s() is None


def test_a_pipe_of_that_name_is_a_pause_and_hangs_nobody(tmp_path: Path, clock: FakeClock) -> None:
    os.mkfifo(tmp_path / FILE_NAME)
    assert paused(tmp_path, clock)


def test_unwritable_folder_pauses_until_the_program_ends(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "state"
    folder.write_text("a file where a folder should be: nobody can write into it, not even root")
    privacy = PrivacyPause(folder, clock)
    privacy.command(paused=True, for_s=60)
    assert privacy.check()
    assert privacy.pause is not None
    assert "cannot be written" in caplog.text
    clock.pass_time(61)
    assert privacy.check()
    assert privacy.pause is None
    with pytest.raises(PrivacyError, match="cannot be written"):
        pause(folder, None, clock)
    with pytest.raises(PrivacyError, match="cannot be written"):
        resume(folder)


def test_pause_file_is_readable_to_the_service_and_has_the_limit(tmp_path: Path, clock: FakeClock) -> None:
    pause(tmp_path, 60, clock)
    path = tmp_path / FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o644
    assert msgspec.json.decode(path.read_bytes())["for_s"] == 60
    assert [found.name for found in tmp_path.iterdir()] == [FILE_NAME]


@pytest.fixture
def read_only() -> Iterator[pytest.MonkeyPatch]:
    """A state folder in which the pause can be neither written nor removed, until it is undone."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with pytest.MonkeyPatch.context() as card:
        card.setattr(Files, "write", refuse)
        card.setattr(Path, "unlink", refuse)
        yield card


def test_loop_obeys_commands_on_a_read_only_disk(read_only: pytest.MonkeyPatch) -> None:
    first = clip(50)
    run = Run(first, {index: [a_face(HAPPY)] for index in range(50)}, FakePublisher(), then=clip(50))
    run.daemon.step()
    run.publisher.commands.append(PrivacyCommand(paused=True))
    run.daemon.step()
    assert first.closed.wait(20)
    assert [told.paused for told in run.publisher.privacies] == [True]
    assert run.publisher.states[-1].camera == "paused"
    run.publisher.commands.append(PrivacyCommand(paused=False))
    run.daemon.step()
    assert [told.paused for told in run.publisher.privacies] == [True, False]
    while run.camera.state != "ok":
        run.daemon.step()
    run.camera.close()


def test_a_pause_that_cannot_be_removed_is_ended_by_a_command(
    tmp_path: Path, clock: FakeClock, read_only: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE_NAME).touch()
    privacy = PrivacyPause(tmp_path, clock)
    assert privacy.check()
    privacy.command(paused=False, for_s=None)
    assert privacy.check()
    assert privacy.pause is None
    assert not privacy.check()


@pytest.mark.parametrize("paused", [True, False])
def test_file_that_changes_is_obeyed_after_an_unwritten_command(
    tmp_path: Path, clock: FakeClock, read_only: pytest.MonkeyPatch, paused: bool
) -> None:
    privacy = PrivacyPause(tmp_path, clock)
    privacy.command(paused=paused, for_s=None)
    privacy.check()
    read_only.undo()
    (tmp_path / FILE_NAME).touch()
    privacy.check()
    assert privacy.pause is not None
    (tmp_path / FILE_NAME).unlink()
    assert privacy.check()
    assert privacy.pause is None


def test_limit_that_ends_on_a_read_only_disk_opens_the_camera(
    tmp_path: Path, clock: FakeClock, read_only: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE_NAME).write_bytes(msgspec.json.encode({"for_s": 60.0, "since": clock.stamp()}))
    privacy = PrivacyPause(tmp_path, clock)
    privacy.check()
    clock.pass_time(60)
    assert privacy.check()
    assert privacy.pause is None
    read_only.undo()
    pause(tmp_path, None, clock)
    assert privacy.check()
    assert privacy.pause is not None


def test_a_command_that_can_be_written_again_ends_what_could_not(
    tmp_path: Path, clock: FakeClock, read_only: pytest.MonkeyPatch
) -> None:
    privacy = PrivacyPause(tmp_path, clock)
    privacy.command(paused=True, for_s=None)
    read_only.undo()
    assert privacy.check()
    privacy.command(paused=False, for_s=None)
    assert privacy.check()
    assert privacy.pause is None


@pytest.mark.parametrize("gone_first", [True, False])
def test_a_card_that_goes_and_comes_back_takes_no_pause_with_it(
    tmp_path: Path, clock: FakeClock, gone_first: bool
) -> None:
    folder, kept = tmp_path / "state", tmp_path / "kept"
    folder.mkdir()
    privacy = PrivacyPause(folder, clock)

    def go() -> None:
        folder.rename(kept)
        folder.touch()  # a file where a folder should be: what is in it cannot be known

    def come_back() -> None:
        folder.unlink()
        kept.rename(folder)

    if gone_first:
        go()
        privacy.command(paused=True, for_s=None)
    else:
        with pytest.MonkeyPatch.context() as card:
            card.setattr("edge.daemon.privacy.pause", _cannot)
            privacy.command(paused=True, for_s=None)
        go()
    privacy.check()
    come_back()
    assert not privacy.check()
    assert privacy.pause is not None


def _cannot(*_: object) -> None:
    raise PrivacyError("privacy: it cannot be written")
