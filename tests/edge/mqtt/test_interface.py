"""The fake publisher stands in for the real one."""

from edge.mqtt.interface import EventPublisher
from edge.mqtt.publisher import Publisher
from tests.fakes.broker import FakePublisher
from tests.fakes.payloads import EVENT


def test_the_fake_and_the_real_one_have_the_same_methods() -> None:
    kinds: list[type[EventPublisher]] = [FakePublisher, Publisher]  # mypy compares the signatures
    for kind in kinds:
        assert {name for name in vars(EventPublisher) if not name.startswith("_")} <= set(vars(kind))
    fake = FakePublisher(acknowledges=False)
    fake.start()
    assert [fake.publish_events([EVENT])[0] for _ in range(3)] == [1, 2, 3]
    assert (fake.drain(0), fake.stop(0), fake.stats().depth) == (False, False, 3)
