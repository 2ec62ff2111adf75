"""The outbox keeps what it was given, in order, over restarts, within its bounds."""

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import DeliveryError
from edge.mqtt.outbox import Outbox
from tests.fakes.clock import FakeClock
from tests.fakes.outbox import EVENT, UNENCODABLE, Opens, long_event, payload, stored

YEAR_S = 365 * 86_400.0


def test_events_wait_in_order_and_leave_when_acknowledged(reopen: Opens) -> None:
    box = reopen()
    assert [box.append([EVENT])[0] for _ in range(5)] == [1, 2, 3, 4, 5]
    assert [(event.seq, event.payload) for event in box.batch(1, 2)] == [(2, payload(2)), (3, payload(3))]
    box.acknowledge(1, 3)
    box.acknowledge(3)
    assert (stored(box), box.depth, box.dropped) == ([2, 4, 5], 3, 0)
    box.close()


def test_seq_goes_on_after_a_restart_with_an_empty_outbox(reopen: Opens) -> None:
    box = reopen()
    box.acknowledge(*[box.append([EVENT])[0] for _ in range(3)])
    box.close()
    box = reopen()
    assert (box.depth, box.append([EVENT])[0]) == (0, 4)
    box.close()


def test_a_number_is_not_used_up_when_the_event_cannot_be_built(reopen: Opens) -> None:
    box = reopen()
    with pytest.raises(TypeError):
        box.append([UNENCODABLE])
    assert (box.append([EVENT])[0], stored(box)) == (1, [1])
    box.close()


def test_outbox_stores_the_events_of_a_frame_all_or_none(reopen: Opens) -> None:
    box = reopen()
    box.append([EVENT])
    before = box.commits
    assert box.append([EVENT] * 5) == [2, 3, 4, 5, 6]
    assert box.commits - before == 1
    with pytest.raises(TypeError):
        box.append([EVENT, EVENT, UNENCODABLE])
    assert (box.append([EVENT, EVENT]), stored(box), box.depth) == ([7, 8], list(range(1, 9)), 8)
    assert [event.payload for event in box.batch(0, 10)] == [payload(seq) for seq in range(1, 9)]
    box.close()


def test_outbox_keeps_the_newest_of_more_events_than_fit(reopen: Opens) -> None:
    box = reopen(max_events=3)
    assert box.append([EVENT] * 5) == [1, 2, 3, 4, 5]
    assert (stored(box), box.depth, box.dropped) == ([3, 4, 5], 3, 2)
    box.close()


def test_outbox_drops_the_oldest_when_full_and_counts_them(reopen: Opens) -> None:
    box = reopen(max_events=3)
    for _ in range(5):
        box.append([EVENT])
    assert (stored(box), box.dropped) == ([3, 4, 5], 2)
    box.close()
    box = reopen(max_events=2)
    box.append([EVENT])
    assert (stored(box), box.depth, box.dropped) == ([5, 6], 2, 4)
    box.close()


def test_too_old_events_are_given_up_and_counted(reopen: Opens, clock: FakeClock) -> None:
    box = reopen(max_age_s=60)
    box.append([EVENT])
    clock.pass_time(40)
    box.append([EVENT])
    clock.pass_time(30)
    assert (stored(box), box.dropped) == ([2], 1)
    clock.pass_time(100)
    box.append([EVENT])
    assert (stored(box), box.dropped) == ([3], 2)
    box.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(st.sampled_from(["append", "append", "acknowledge", "reopen", "fail"]), max_size=25))
def test_nothing_is_lost_or_numbered_twice(tmp_path_factory: pytest.TempPathFactory, actions: list[str]) -> None:
    where = tmp_path_factory.mktemp("box") / "outbox.sqlite"
    limit = 6
    box = Outbox(where, max_events=limit, max_age_s=3600)
    expected: list[int] = []
    last = dropped = 0
    for action in actions:
        if action == "append":
            last += 1
            assert box.append([EVENT])[0] == last
            expected.append(last)
            dropped += max(0, len(expected) - limit)
            expected = expected[-limit:]
        elif action == "acknowledge" and expected:
            box.acknowledge(expected.pop(len(expected) // 2))
        elif action == "reopen":
            box.close()
            box = Outbox(where, max_events=limit, max_age_s=3600)
        elif action == "fail":
            with pytest.raises(TypeError):
                box.append([UNENCODABLE])
        assert (stored(box), box.depth, box.dropped) == (expected, len(expected), dropped)
    box.close()


def test_a_killed_process_loses_nothing_that_was_stored(path: Path, reopen: Opens) -> None:
    script = (
        "import os, pathlib, signal, sys; from edge.mqtt.outbox import Outbox\n"
        "from tests.fakes.outbox import EVENT\n"
        "box = Outbox(pathlib.Path(sys.argv[1]), max_events=100, max_age_s=1e9)\n"
        "for _ in range(7): box.append([EVENT])\n"
        "box.acknowledge(1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(path)], check=False, timeout=60, env={**os.environ, "PYTHONPATH": "."}
    )
    box = reopen(max_age_s=1e9)
    assert (stored(box), box.append([EVENT])[0]) == ([2, 3, 4, 5, 6, 7], 8)
    box.close()


def test_one_thread_appends_while_another_reads_and_acknowledges(reopen: Opens) -> None:
    box = reopen()
    seen: list[int] = []

    def read() -> None:
        while len(seen) < 200:
            for event in box.batch(seen[-1] if seen else 0, 20):
                seen.append(event.seq)
                box.acknowledge(event.seq)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(200):
        box.append([EVENT])
    reader.join(60)
    assert (seen, box.depth) == (list(range(1, 201)), 0)
    box.close()


def test_another_daemon_on_the_same_outbox_is_refused(reopen: Opens) -> None:
    box = reopen()
    with pytest.raises(DeliveryError, match="another emotion-edge uses it"):
        reopen()
    box.close()
    reopen().close()


@pytest.mark.parametrize("jump_s", [YEAR_S, -YEAR_S])
def test_a_date_that_jumps_drops_nothing_and_ages_go_on(reopen: Opens, clock: FakeClock, jump_s: float) -> None:
    box = reopen(max_age_s=60)
    box.append([EVENT])
    clock.pass_time(20)
    clock.jump(jump_s)
    box.append([EVENT])
    assert [box.age_s(event) for event in box.batch(0, 9)] == pytest.approx([20, 0])
    box.close()
    clock.jump(jump_s)
    clock.pass_time(20)
    box = reopen(max_age_s=60)
    assert [box.age_s(event) for event in box.batch(0, 9)] == pytest.approx([40, 20])
    clock.pass_time(30)
    assert (stored(box), box.dropped) == ([2], 1)
    box.close()


def test_over_a_reboot_events_age_by_the_date_where_it_is_known(reopen: Opens, clock: FakeClock) -> None:
    box = reopen(max_age_s=1000)
    box.append([EVENT])
    box.close()
    clock.reboot(away_s=600)
    box = reopen(max_age_s=1000)
    assert [box.age_s(event) for event in box.batch(0, 9)] == pytest.approx([600])
    box.close()
    clock.knows_date = False
    clock.reboot(away_s=YEAR_S)
    box = reopen(max_age_s=1000)
    assert stored(box) == [1], "nobody knows how long it was away: kept"
    box.close()


def test_bytes_are_bounded_too(path: Path, clock: FakeClock) -> None:
    box = Outbox(path, max_events=1000, max_age_s=60, max_bytes=1000, clock=clock)
    for _ in range(10):
        box.append([long_event(280)])
    assert (stored(box), box.dropped) == ([8, 9, 10], 7)
    box.append([long_event(5000)])
    assert (stored(box), box.dropped) == ([11], 10), "the newest is kept, whatever its size"
    box.close()


def test_outbox_drops_what_is_beyond_its_bounds_in_one_statement(
    reopen: Opens, connections: list[sqlite3.Connection]
) -> None:
    box = reopen()
    box.append([EVENT] * 500)
    box.close()
    box = reopen(max_events=10)
    statements: list[str] = []
    connections[-2].set_trace_callback(statements.append)
    box.append([EVENT])
    assert (stored(box), box.depth, box.dropped) == (list(range(492, 502)), 10, 491)
    assert sum(statement.startswith("DELETE") for statement in statements) == 1
    assert len(statements) < 20
    box.close()
