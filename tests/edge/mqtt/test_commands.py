"""Commands from the network: what is one is read, all else is refused with a reason, whatever it is."""

import logging
import random
from collections.abc import Iterator

import msgspec
import pytest

from edge.events.payloads import LONGEST_PAUSE_S, PrivacyCommand
from edge.mqtt.commands import MAX_COMMAND_BYTES, CommandError, Inbox, read_command

SEED = 20_261_122
REASONS = {"it is retained", "longer than 256 bytes", "not JSON", "allowed is", "for_s without a pause"}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"paused": true}', PrivacyCommand(paused=True)),
        (b'{"paused": true, "for_s": 3600}', PrivacyCommand(paused=True, for_s=3600)),
        (b'{"paused": true, "for_s": null}', PrivacyCommand(paused=True)),
        (b' {"for_s": 0.5 , "paused":true}\n', PrivacyCommand(paused=True, for_s=0.5)),
        (b'{"paused": false}', PrivacyCommand(paused=False)),
    ],
)
def test_commands_are_read(payload: bytes, expected: PrivacyCommand) -> None:
    assert read_command(payload, retained=False) == expected


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not JSON"),
        (b"on", "not JSON"),
        (b"\xff\xfe\xfd", "not JSON"),
        (b'{"paused": true} {}', "not JSON"),
        (b'"paused"', "allowed is"),
        (b'{"paused": "true"}', "allowed is"),
        (b'{"paused": 1}', "allowed is"),
        (b'{"Paused": true}', "allowed is"),
        (b'{"paused": true, "path": "/etc/passwd"}', "allowed is"),
        (b'{"paused": true, "for_s": 0}', "allowed is"),
        (b'{"paused": true, "for_s": -5}', "allowed is"),
        (b'{"paused": true, "for_s": 2678401}', "allowed is"),
        (b'{"paused": true, "for_s": 1e999}', "allowed is"),
        (b'{"paused": true, "for_s": NaN}', "not JSON"),
        (b'{"paused": false, "for_s": 5}', "for_s without a pause"),
        (b"[" * MAX_COMMAND_BYTES, "allowed is"),
        (b'{"x": ' + b"[" * 200 + b"]" * 200 + b"}", "longer than 256 bytes"),
        (b'{"paused": true}' + b" " * MAX_COMMAND_BYTES, "longer than 256 bytes"),
        (bytes(10_000_000), "longer than 256 bytes"),
    ],
)
def test_what_is_none_is_refused_with_a_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(CommandError) as told:
        read_command(payload, retained=False)
    assert str(told.value).startswith(reason)


def test_a_retained_command_is_none() -> None:
    with pytest.raises(CommandError, match="retained"):
        read_command(b'{"paused": true}', retained=True)


def test_ten_thousand_random_payloads_are_refused_with_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    inbox = Inbox()
    payloads = list(generated(10_000))
    assert len(set(payloads)) == 10_000
    with caplog.at_level(logging.INFO):
        for payload in payloads:
            with pytest.raises(CommandError) as told:
                read_command(payload, retained=False)
            assert any(str(told.value).startswith(reason) for reason in REASONS), told.value
            inbox.put(payload, False)
    assert inbox.refused == 10_000
    assert inbox.take() == []
    # Four reasons can come to pass here, and each is said once.
    assert len(caplog.records) == 4
    assert not any(record.exc_info for record in caplog.records)


def test_a_flood_of_commands_keeps_the_newest() -> None:
    inbox = Inbox()
    for number in range(1, 1001):
        inbox.put(b'{"paused": true, "for_s": %d}' % number, False)
    assert [command.for_s for command in inbox.take()] == list(range(985, 1001))


def generated(count: int) -> Iterator[bytes]:
    """Bytes at random, JSON at random, commands that are nearly right; whatever happens to be right is left out."""
    chance = random.Random(SEED)
    made: set[bytes] = set()
    while len(made) < count:
        payload = chance.choice((_noise, _json, _nearly, _cut))(chance)
        if payload not in made and not _is_command(payload):
            made.add(payload)
            yield payload


def _noise(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((1, 3, 16, 200, 256, 257, 5000)))


def _json(chance: random.Random) -> bytes:
    return msgspec.json.encode(_value(chance, depth=0))


def _value(chance: random.Random, *, depth: int) -> object:
    plain = (None, True, False, 0, -1, 1e308, 2**63 - 1, "", "paused", "\u0000", "'; DROP TABLE", "../../etc", "%s%n")
    kind = chance.randrange(4 if depth < 6 else 1)
    if kind == 0:
        return chance.choice((*plain, chance.random(), chance.randrange(10**9)))
    if kind == 1:
        return [_value(chance, depth=depth + 1) for _ in range(chance.randrange(4))]
    keys = ("paused", "for_s", "Paused", "", "__class__", "until", str(chance.random()))
    return {chance.choice(keys): _value(chance, depth=depth + 1) for _ in range(chance.randrange(1, 4))}


def _nearly(chance: random.Random) -> bytes:
    paused = chance.choice((b"true", b"false", b"false", b"True", b"1", b'"true"', b"null", b"[]"))
    for_s = chance.choice((b"0", b"-1", b"1e400", b"NaN", b"Infinity", b'"1h"', b"{}", b"%d" % chance.randrange(10**6)))
    extra = chance.choice((b"", b"", b', "at": %d' % chance.randrange(10**9), b",", b', "paused": 3'))
    return b'{"paused": %s, "for_s": %s%s}%s' % (paused, for_s, extra, b" " * chance.choice((0, 0, 300)))


def _cut(chance: random.Random) -> bytes:
    whole = bytearray(b'{"paused": true, "for_s": %d.%d}' % (chance.randrange(1, 10**6), chance.randrange(10**6)))
    for _ in range(chance.randrange(1, 4)):
        whole[chance.randrange(len(whole))] = chance.randrange(256)
    return bytes(whole[: chance.randrange(len(whole))])


def _is_command(payload: bytes) -> bool:
    """An opinion that shares no code with what is tested."""
    import json

    if len(payload) > MAX_COMMAND_BYTES:
        return False
    try:
        tree = json.loads(payload.decode())
    except (ValueError, RecursionError):
        return False
    if not isinstance(tree, dict) or not {"paused"} <= set(tree) <= {"paused", "for_s"}:
        return False
    for_s = tree.get("for_s")
    limited = isinstance(for_s, int | float) and not isinstance(for_s, bool) and 0 < for_s <= LONGEST_PAUSE_S
    return (tree["paused"] is True and (for_s is None or limited)) or (tree["paused"] is False and for_s is None)
