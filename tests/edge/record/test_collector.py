"""`emotion-edge collect` against a real broker: nothing is lost, nothing comes twice, whatever dies."""

import json
import signal
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import record
from benchmarks.record import Collecting, Tally, stored, wait
from edge.cli import app
from edge.cli.support import run
from edge.events.payloads import EmotionEvent
from edge.record.database import open_engine
from edge.record.messages import read
from edge.record.targets import open_target
from tests.fakes import postgresql
from tests.fakes.mosquitto import Mosquitto, missing
from tests.fakes.payloads import EVENT, HEALTH

pytestmark = pytest.mark.broker

NOW_MS = 1_795_777_200_000


@pytest.fixture(autouse=True)
def needs_a_broker() -> None:
    if reason := missing():
        pytest.skip(reason)


@pytest.fixture
def server() -> Iterator[postgresql.PostgreSQL]:
    if reason := postgresql.missing():
        pytest.skip(reason)
    with postgresql.PostgreSQL() as one:
        yield one


def assert_all_is_there(result: Tally) -> None:
    assert result.sent > 10
    assert (result.stored, result.twice, result.lost, result.gaps) == (result.sent, 0, 0, 0), result


def assert_dashboard_draws(url: str) -> None:
    """Run every query of the Grafana dashboard for a device with a gap, as Grafana fills them in; each finds rows."""
    events = [
        msgspec.structs.replace(EVENT, device="hall", seq=seq, id=f"0{seq}", event_type=kind, time_synced=True)
        for seq, kind in ((1, "emotion_changed"), (3, "face_left"))
    ]
    rows = [read("emotion/1/hall/event", msgspec.json.encode(one), NOW_MS) for one in events]
    rows.append(read("emotion/1/hall/health", msgspec.json.encode(HEALTH), NOW_MS))
    rows.append(read("emotion/1/hall/status", b'{"state": "online", "boot": "b", "version": "1"}', NOW_MS))
    target = open_target(url)
    target.store(rows)
    target.close()
    dashboard = json.loads((Path(__file__).parents[3] / "examples/grafana-dashboard.json").read_text())
    engine = open_engine(url)
    with engine.connect() as connection:
        for panel in dashboard["panels"]:
            (query,) = (target["rawSql"] for target in panel["targets"])
            for name, value in (("$__from", "0"), ("$__to", "9000000000000"), ("${device:sqlstring}", "'hall'")):
                query = query.replace(name, value)
            found = connection.exec_driver_sql(query.replace("%", "%%")).mappings().all()
            assert found, panel["title"]
            if panel["type"] == "timeseries":
                assert all(isinstance(row["time"], datetime) for row in found), panel["title"]
        (devices,) = (one["query"] for one in dashboard["templating"]["list"] if one["name"] == "device")
        assert "hall" in connection.exec_driver_sql(devices).scalars().all()
    engine.dispose()


def test_collector_that_is_killed(tmp_path: Path) -> None:
    assert_all_is_there(record.collector_killed(tmp_path / "site", str(tmp_path / "events.csv"), times=2))


def test_collector_whose_broker_is_killed(tmp_path: Path) -> None:
    to = str(tmp_path / "events.db")
    assert_all_is_there(record.broker_killed(tmp_path / "site", to, times=1, down_s=0.2))


@pytest.mark.slow("PostgreSQL makes its cluster, and recovers")
def test_collectors_that_share_and_whose_postgresql_is_killed(tmp_path: Path, server: postgresql.PostgreSQL) -> None:
    assert_all_is_there(record.database_killed(tmp_path / "site", server, times=1, collectors=2))
    assert_dashboard_draws(server.url)


def test_collector_counts_what_it_does_not_store(
    tmp_path: Path, mosquitto: Mosquitto, event: Callable[..., EmotionEvent]
) -> None:
    to, log = tmp_path / "events.db", tmp_path / "log"
    good = msgspec.json.encode(event(seq=1, device="hall"))
    with mosquitto:
        publisher = paho.Client(CallbackAPIVersion.VERSION2)
        publisher.username_pw_set(mosquitto.username, mosquitto.password)
        publisher.connect("127.0.0.1", mosquitto.port)
        publisher.loop_start()
        collecting = Collecting(mosquitto, str(to), log, "--json")
        publisher.publish("emotion/1/hall/status", b'{"state": "online", "boot": "b", "version": "1"}', 1, retain=True)
        collecting.start()
        wait(lambda: "connected" in log.read_text() if log.exists() else False)
        payloads: list[Any] = [
            b"{",
            b"",
            good,
            good,
            b"\xff",
            b"x" * 100_000,
            b"[" * 9000,
            good.replace(b"hall", b"door"),
        ]
        for payload in payloads:
            publisher.publish("emotion/1/hall/event", payload, 1)
        publisher.publish("emotion/1/hall/event", good, 0)
        last = msgspec.json.encode(event(seq=2, device="hall"))
        publisher.publish("emotion/1/hall/event", last, 1).wait_for_publish(30)
        publisher.disconnect()
        publisher.loop_stop()
        wait(lambda: stored(str(to)) == 2)
        collecting.end(signal.SIGINT)
    lines = log.read_text().splitlines()
    counts = json.loads(lines[-1])
    # The packet of 100 kB is not even sent: the collector has asked for none above 64 kB.
    assert (counts["stored"], counts["duplicates"], sum(counts["invalid"].values())) == (3, 2, 5)
    assert len([line for line in lines if "is ignored" in line]) == len(counts["invalid"])
    assert "hall" not in "".join(counts["invalid"])


def test_collect_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in [
        (["--to", "events"], "allowed is FILE.db"),
        (["--to", str(tmp_path / "none.db"), "--gaps"], "no such file"),
        (["--name", "a b"], "--name: found 'a b'"),
        (["--share", "a/b"], "--share: found 'a/b'"),
        (["--mqtt", "http://localhost"], "mqtt.url: found"),
        (["--mqtt", "mqtt://me:secret@localhost"], "a password does not belong"),
    ]:
        assert run(app, ["collect", *arguments]) in {2, 78}
        errors = capsys.readouterr().err
        assert said in errors
        assert errors.count("\n") == 1
        assert "secret" not in errors


def test_collect_lists_gaps(tmp_path: Path, row: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    from edge.record.targets import open_target

    path = str(tmp_path / "events.jsonl")
    target = open_target(path)
    target.store([row(seq=1), row(seq=2)])
    assert run(app, ["collect", "--gaps", "--to", path]) == 0
    assert "no gaps" in capsys.readouterr().out
    target.store([row(seq=5, boot="other")])
    target.close()
    assert run(app, ["collect", "--gaps", "--to", path]) == 0
    assert "2 events are missing" in capsys.readouterr().out
    assert run(app, ["collect", "--gaps", "--json", "--to", path]) == 0
    gap = json.loads(capsys.readouterr().out)
    assert (gap["device"], gap["missing"], gap["first_seq"], gap["last_seq"]) == ("hall", 2, 3, 4)
    open_engine(path).dispose()
