"""The lines of docs/fleet.md on a real RabbitMQ: a device writes and reads its own topics, the collector reads all."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.faults.device import event
from edge.backoff import Backoff
from edge.homeassistant.discovery import Board, discovery_message
from edge.mqtt.address import broker_address
from edge.mqtt.connection import Session
from edge.mqtt.outbox import Outbox
from edge.mqtt.publisher import Publisher
from edge.mqtt.subscriber import Subscriber
from edge.mqtt.topics import Topics
from edge.record.messages import filters
from edge.settings import HomeAssistantSettings, MqttSettings
from tests.fakes.backoff import NotedBackoff
from tests.fakes.payloads import replace
from tests.fakes.rabbitmq import Cluster, RabbitMQ, missing
from tests.fakes.waiting import wait_for

ASKED_FOR = "EMOTION_EDGE_RABBITMQ_TEST"
DEVICE = "pi-1a2b3c4d"
CLIENT_ID = f"emotion-edge-{DEVICE}-0a1b2c3d"

pytestmark = [pytest.mark.broker, pytest.mark.timeout(900)]


@pytest.fixture
def rabbitmq(tmp_path: Path) -> Iterator[RabbitMQ]:
    if not os.environ.get(ASKED_FOR):
        pytest.skip(f"takes minutes: {ASKED_FOR}=1")
    if reason := missing():
        pytest.skip(reason)
    with Cluster(tmp_path, 1, anonymous=False) as cluster:
        (node,) = cluster.nodes
        page = (Path(__file__).parents[3] / "docs/fleet.md").read_text()
        (lines,) = re.findall(r"```sh\n(.*?rabbitmqctl.*?)```", page, flags=re.DOTALL)
        subprocess.run(["sh", "-euc", f'rabbitmqctl() {{ {node.control} "$@"; }}\n{lines}'], env=node.environment,
                       check=True)  # fmt: skip
        yield node


def test_rabbitmq_lets_a_device_speak_in_its_own_name_only(
    rabbitmq: RabbitMQ, tmp_path: Path, noted: NotedBackoff
) -> None:
    def publisher(name: str, client_id: str, backoff: Backoff | None = None) -> Publisher:
        announcement = discovery_message(
            Topics(name), HomeAssistantSettings(enabled=True), version="1.0", board=Board()
        )
        return Publisher(
            settings, name, Outbox(tmp_path / f"{name}.sqlite", max_events=10, max_age_s=3600), boot="b", version="1.0",
            model=lambda: "none", client_id=client_id, birth_topic="homeassistant/status",
            announcements=[announcement], backoff=backoff,
        )  # fmt: skip

    password = tmp_path / "password"
    password.write_text("PASSWORD")
    password.chmod(0o600)
    settings = MqttSettings(url=rabbitmq.url, username=DEVICE, password_file=str(password))
    reading = MqttSettings(url=rabbitmq.url, username="collector", password_file=str(password))
    collector = Subscriber(
        broker_address(reading), client_id="emotion-edge-collect-test", topics=filters(), session=Session(keep_s=3600)
    )
    own, other = publisher(DEVICE, CLIENT_ID), publisher("hall", CLIENT_ID.replace(DEVICE, "hall"), noted)
    seen: list[str] = []

    def arrived(topic: str) -> bool:
        seen.extend(message.topic for message in collector.receive(1.0))
        return topic in seen

    with collector:
        wait_for(lambda: bool(collector.receive(0.1)) or collector.subscribed, timeout_s=60)
        other.start()
        other.publish_events([replace(event("b"), device="hall")])
        wait_for(lambda: len(noted.asked) > 1, timeout_s=60)
        other.stop(0)
        own.start()
        own.publish_events([replace(event("b"), device=DEVICE)])
        wait_for(lambda: arrived(f"emotion/1/{DEVICE}/event"), timeout_s=60)
        own.stop(5)
        assert own.stats().depth == 0
    assert other.stats().depth == 1
    assert {topic.split("/")[2] for topic in seen} == {DEVICE}
