"""What follows the end of a connection: how soon the next one comes, and what is said on it again."""

from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from edge.clock import utc_time
from edge.events.payloads import Privacy, State
from edge.mqtt.connection import Ended
from edge.mqtt.outbox import Outbox
from edge.mqtt.publisher import Publisher
from tests.edge.mqtt.test_connection import CONNACK, broker_that_says, notices_of
from tests.edge.mqtt.test_publisher import health, listening, publishing, state
from tests.edge.mqtt.test_timeouts import SkippingClock, trusting
from tests.fakes.backoff import NotedBackoff
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.payloads import EVENT, READING
from tests.fakes.subscriber import Received
from tests.fakes.waiting import wait_for

pytestmark = pytest.mark.broker


def happy() -> State:
    return State(faces=[READING], emotion="happy", time=utc_time(), camera="ok")


def is_online(message: Received) -> bool:
    return message.channel == "status" and message.json["state"] == "online"


def test_retained_messages_go_again_to_a_broker_that_forgot(mosquitto: Mosquitto, outbox: Outbox) -> None:
    mosquitto.start()
    with publishing(mosquitto.settings(), outbox) as publisher:
        publisher.publish_state(state("black"))
        publisher.publish_health(health(7))
        publisher.publish_privacy(Privacy(paused=True, for_s=60, until=None, time=utc_time()))
        wait_for(lambda: publisher.stats().connected and publisher.stats().in_flight == 0)
        mosquitto.kill()
        (mosquitto.folder / "mosquitto.db").unlink(missing_ok=True)
        mosquitto.start()
        wait_for(lambda: publisher.stats().reconnects == 1 and publisher.stats().in_flight == 0)
        with listening(mosquitto) as late:
            told = {"status", "state", "health", "privacy/state"}
            late.wait(lambda messages: told <= {message.channel for message in messages})
            assert [status["state"] for status in late.of("status")] == ["online"]
            assert [kept["camera"] for kept in late.of("state")] == ["black"]
            assert [kept["frames"] for kept in late.of("health")] == [7]
            assert [kept["for_s"] for kept in late.of("privacy/state")] == [60]


def test_nothing_of_the_last_run_is_left_when_a_device_is_online(mosquitto: Mosquitto, outbox: Outbox) -> None:
    """What Home Assistant goes by: a device that is not online is unavailable, whatever its state says."""
    mosquitto.start()
    with publishing(mosquitto.settings(), outbox) as killed:
        killed.publish_state(happy())
        wait_for(lambda: killed.stats().connected and killed.stats().in_flight == 0)
        mosquitto.save()
        mosquitto.kill()
    mosquitto.start()
    with listening(mosquitto) as home:
        home.wait(lambda messages: any(message.channel == "state" for message in messages))
        assert home.of("state")[-1]["emotion"] == "happy", "the broker kept it"
        with publishing(mosquitto.settings(), outbox):
            messages = home.wait(
                lambda messages: any(is_online(message) for message in messages if not message.retained)
            )
    told = [message for message in messages if not message.retained]
    online = next(index for index, message in enumerate(told) if is_online(message))
    before = [message.json for message in told[:online] if message.channel == "state"]
    assert before, "a fresh state comes before the device is available"
    assert before[-1]["emotion"] is None


def test_two_devices_of_one_name_give_way_and_say_why_once(
    mosquitto: Mosquitto, outbox: Outbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.start()
    other_box = Outbox(tmp_path / "other.sqlite", max_events=10, max_age_s=100)
    waits = [NotedBackoff(), NotedBackoff()]
    devices = [
        Publisher(trusting(mosquitto), "dev-1", box, boot="b", version="1", model=lambda: "m", backoff=noted)
        for box, noted in zip((outbox, other_box), waits, strict=True)
    ]
    for device in devices:
        device.start()
    wait_for(lambda: min(len(noted.asked) for noted in waits) >= 5)
    for device in devices:
        device.stop(0)
    other_box.close()
    for line in ("is gone (connection lost)", "does another device have the same `device` setting?"):
        assert len([record for record in caplog.records if line in record.message]) == 2, "one of each device"


def test_taken_over_session_is_reported_with_a_hint() -> None:
    taken_over = b"\xe0\x02\x8e\x00"  # MQTT 5.0, 3.14: DISCONNECT with its reason and no properties
    with broker_that_says(CONNACK[MQTTProtocolVersion.MQTTv5], taken_over) as address:
        *_, ended = notices_of(address, MQTTProtocolVersion.MQTTv5)
    assert isinstance(ended, Ended)
    assert ended.ending.reason == "session taken over: does another device have the same `device` setting?"


def test_waits_and_log_start_over_after_a_connection_that_lasted(
    mosquitto: Mosquitto, outbox: Outbox, noted: NotedBackoff, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SkippingClock()
    mosquitto.start()
    with publishing(trusting(mosquitto), outbox, backoff=noted, clock=clock) as publisher:

        def lose() -> list[int]:
            """Failures in a row as they were counted for the first wait after a loss, and before."""
            wait_for(lambda: publisher.stats().connected)
            counted = len(noted.asked)
            mosquitto.kill()
            wait_for(lambda: len(noted.asked) > counted)
            mosquitto.start()
            return [failures for failures, _ in noted.asked[: counted + 1]]

        assert lose() == [1]
        first = lose()
        assert first == list(range(1, len(first) + 1)), "none of these held"
        said = caplog.text.count("is gone (connection lost)")
        assert said == 1
        wait_for(lambda: publisher.stats().connected and publisher.stats().in_flight == 0)
        clock.skip(60)
        assert lose()[-1] == 1
        assert caplog.text.count("is gone (connection lost)") == 2


def test_refused_login_is_retried_slowly_an_absent_broker_is_not(
    mosquitto: Mosquitto, outbox: Outbox, noted: NotedBackoff
) -> None:
    wrong = mosquitto.settings(password_file=str(mosquitto.password_file("wrong")))
    with publishing(wrong, outbox, backoff=noted) as publisher:
        wait_for(lambda: len(noted.asked) >= 2)
        assert {refused for _, refused in noted.asked} == {False}
        mosquitto.start()
        wait_for(lambda: publisher.stats().last_refusal is not None)
        asked = len(noted.asked)
        wait_for(lambda: len(noted.asked) >= asked + 2)
    assert {refused for _, refused in noted.asked[asked:]} == {True}


def test_no_more_is_under_way_than_the_broker_wants(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with (mosquitto.folder / "mosquitto.conf").open("a") as conf:
        conf.write("max_inflight_messages 3\n")
    mosquitto.start()
    turns: list[int] = []
    with publishing(mosquitto.settings(), outbox) as publisher:
        publisher.watch(lambda: turns.append(publisher.stats().in_flight))
        wait_for(lambda: publisher.stats().connected and publisher.stats().in_flight == 0)
        mosquitto.pause()
        try:
            publisher.publish_events([EVENT] * 30)
            wait_for(lambda: publisher.stats().in_flight >= 3)
            seen = len(turns)
            publisher.publish_events([EVENT])
            wait_for(lambda: len(turns) > seen)
            assert publisher.stats().in_flight == 3
        finally:
            mosquitto.resume()
        assert publisher.drain(30)
    assert max(turns) == 3
