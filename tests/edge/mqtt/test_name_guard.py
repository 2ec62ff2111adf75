"""Of two devices with one name, the second is held back, and the first stays as it is."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.backoff import Backoff
from edge.events.payloads import Status
from edge.mqtt.name_guard import HOLD_S, NameGuard, Verdict, client_id
from edge.mqtt.outbox import Outbox
from tests.edge.mqtt.test_publisher import listening, publishing, state
from tests.edge.mqtt.test_timeouts import SkippingClock, trusting
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.payloads import EVENT
from tests.fakes.subscriber import Received
from tests.fakes.waiting import wait_for

FIRST: dict[str, Any] = {"boot": "b1", "client_id": "emotion-edge-dev-1-first"}
SECOND: dict[str, Any] = {"boot": "b2", "client_id": "emotion-edge-dev-1-second"}


class AtOnce(random.Random):
    """Draws the lowest number of each range."""

    def uniform(self, a: float, b: float) -> float:
        return a


@pytest.fixture
def second_outbox(tmp_path: Path) -> Any:
    box = Outbox(tmp_path / "second.sqlite", max_events=10, max_age_s=1000)
    yield box
    box.close()


def status(**changes: Any) -> bytes:
    given = {"state": "online", "boot": "b2", "version": "1", "client": SECOND["client_id"]}
    return msgspec.json.encode(msgspec.convert(given | changes, Status))


def is_online(boot: str) -> Callable[[list[Received]], bool]:
    def told(messages: list[Received]) -> bool:
        last = next((message.payload for message in reversed(messages) if message.channel == "status"), b"")
        return b'"online"' in last and f'"{boot}"'.encode() in last

    return told


@pytest.mark.parametrize(
    ("seen", "retained", "verdict"),
    [
        pytest.param(status(), True, Verdict.HOLD, id="kept-online-of-another"),
        pytest.param(status(), False, Verdict.TAKEN, id="live-online-of-another"),
        pytest.param(status(client=None), True, Verdict.HOLD, id="online-of-version-0.1"),
        pytest.param(status(state="offline"), True, Verdict.FREE, id="will-of-another"),
        pytest.param(status(state="stopped"), False, Verdict.FREE, id="another-that-stopped"),
        pytest.param(status(client=FIRST["client_id"]), True, Verdict.NOTHING, id="online-of-own-last-start"),
        pytest.param(status(boot="b1"), False, Verdict.NOTHING, id="own-echo"),
        pytest.param(b"", False, Verdict.FREE, id="cleared"),
        pytest.param(b"\xff{[", True, Verdict.FREE, id="no-status"),
        pytest.param(b"[" * 100_000, True, Verdict.FREE, id="too-deep"),
    ],
)
def test_name_guard_judges_what_it_sees_first(seen: bytes, retained: bool, verdict: Verdict) -> None:
    assert NameGuard(FIRST["client_id"], "b1").judge(seen, retained=retained) is verdict


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(status(), id="another-that-came-later"),
        pytest.param(status(state="offline"), id="will-of-another"),
        pytest.param(status(state="offline", boot="b1", client=FIRST["client_id"]), id="own-late-will"),
        pytest.param(b"", id="cleared"),
        pytest.param(b"nonsense", id="no-status"),
    ],
)
def test_name_guard_of_the_first_repeats_what_others_overwrite(seen: bytes) -> None:
    guard = NameGuard(FIRST["client_id"], "b1")
    guard.judge(status(boot="b1", client=FIRST["client_id"]), retained=False)
    assert guard.judge(seen, retained=False) is Verdict.REPEAT
    guard.start_connection()
    assert guard.judge(status(), retained=False) is Verdict.TAKEN


def test_client_id_differs_by_machine_and_folder_and_stays(tmp_path: Path) -> None:
    machines = []
    for serial in ("1000", "2000"):
        tree = tmp_path / serial / "proc/device-tree"
        tree.mkdir(parents=True)
        (tree / "serial-number").write_text(f"{serial}\0")
        machines.append(tmp_path / serial)
    folder = Path("/var/lib/emotion-edge")
    ids = [client_id("hall", folder, root=root) for root in machines]
    ids += [client_id("hall", Path("/home/me/state"), root=machines[0]), client_id("bath", folder, root=machines[0])]
    assert len(set(ids)) == 4
    assert client_id("hall", folder, root=machines[0]) == ids[0]
    assert not any("1000" in name for name in ids)
    assert client_id("hall", folder, root=tmp_path).startswith("emotion-edge-hall-"), "neither file is there"


@pytest.mark.broker
def test_second_device_of_a_name_waits_until_the_first_is_gone(
    mosquitto: Mosquitto, outbox: Outbox, second_outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.start()
    caplog.set_level("INFO")
    settings, clock = trusting(mosquitto), SkippingClock()
    with listening(mosquitto) as home, publishing(settings, outbox, **FIRST) as first:
        first.publish_state(state("black"))
        home.wait(is_online("b1"))
        with publishing(settings, second_outbox, clock=clock, **SECOND) as second:
            second.publish_events([EVENT])
            wait_for(lambda: "in case it was cut off" in caplog.text)
            clock.skip(HOLD_S)
            second.publish_state(state("ok"))
            wait_for(lambda: second.stats().last_refusal)
            refusal = str(second.stats().last_refusal)
            assert FIRST["client_id"] in refusal
            assert SECOND["client_id"] in refusal
            assert not second.stats().connected
            assert second.stats().depth == 1, "its event is kept"
            assert home.of("event") == []
            assert [told["boot"] for told in home.of("status")] == ["b1"], "the first was not disturbed"
            first.stop(10)
            home.wait(is_online("b2"))
            assert second.drain(30)
            assert second.stats().last_refusal is None
    assert caplog.text.count("has another device of this name") == 1


@pytest.mark.broker
def test_will_of_a_device_that_was_cut_off_frees_its_name(
    mosquitto: Mosquitto, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.start()
    caplog.set_level("INFO")
    with listening(mosquitto) as home:
        home.publish("emotion/1/dev-1/status", status(), retain=True)
        home.wait(is_online("b2"))
        with publishing(trusting(mosquitto), outbox, **FIRST) as publisher:
            wait_for(lambda: "in case it was cut off" in caplog.text)
            assert not publisher.stats().connected
            home.publish("emotion/1/dev-1/status", status(state="offline"), retain=True)
            home.wait(is_online("b1"))


@pytest.mark.broker
def test_two_devices_that_start_together_end_with_one_online(
    mosquitto: Mosquitto, outbox: Outbox, second_outbox: Outbox
) -> None:
    mosquitto.start()
    settings = trusting(mosquitto)
    calm = Backoff(first_s=60, most_s=600)
    with (
        listening(mosquitto) as home,
        publishing(settings, outbox, backoff=calm, **FIRST) as one,
        publishing(settings, second_outbox, backoff=calm, **SECOND) as other,
    ):
        home.wait(lambda messages: any(message.channel == "status" for message in messages))
        wait_for(lambda: one.stats().connected != other.stats().connected)
        one.stop(0)
        other.stop(0)


@pytest.mark.broker
@pytest.mark.parametrize(
    "payload",
    [b"", status(state="offline"), status(boot="b3"), b"nonsense"],
    ids=["cleared", "offline", "another-online", "nonsense"],
)
def test_status_that_somebody_overwrote_is_published_again(
    mosquitto: Mosquitto, outbox: Outbox, payload: bytes
) -> None:
    mosquitto.start()
    with listening(mosquitto) as home, publishing(trusting(mosquitto), outbox, **FIRST):
        home.wait(is_online("b1"))
        home.publish("emotion/1/dev-1/status", payload, retain=True)
        told = home.wait(
            lambda messages: is_online("b1")(messages) and sum(b'"b1"' in message.payload for message in messages) == 2
        )
    order = [message.channel for message in told]
    assert order.count("state") == 2, "everything is repeated"
    assert order[-1] == "status", "online comes last"


@pytest.mark.broker
@pytest.mark.parametrize(
    ("payload", "retain", "again"), [(b"online", False, True), (b"offline", False, False), (b"online", True, True)]
)
def test_retained_is_published_again_if_home_assistant_starts(
    mosquitto: Mosquitto, outbox: Outbox, payload: bytes, retain: bool, again: bool
) -> None:
    mosquitto.start()
    birth = "homeassistant/status"
    with (
        listening(mosquitto) as home,
        publishing(
            trusting(mosquitto), outbox, birth_topic=birth, backoff=Backoff(0.05, 0.4, rng=AtOnce()), **FIRST
        ) as publisher,
    ):
        home.wait(is_online("b1"))
        home.publish(birth, payload, retain=retain)
        home.wait(lambda messages: any(message.topic == birth for message in messages))
        if again:
            home.wait(lambda messages: sum(b'"online"' in message.payload for message in messages) == 2)
        publisher.stop(10)
        home.wait(lambda messages: any(b'"stopped"' in message.payload for message in messages))
    told = [message.json["state"] for message in home.messages if message.topic == "emotion/1/dev-1/status"]
    assert told == ["online"] * (1 + again) + ["stopped"]
