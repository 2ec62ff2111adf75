"""The documents under docs/schema are what the types give, and what is published fits them."""

from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from edge.clock import utc_time
from edge.errors import UsageError
from edge.events.payloads import Privacy, PrivacyCommand, StageTimes, State, Status
from edge.events.schema import CHANNELS, asyncapi, documents, json_schema, main
from tests.fakes.payloads import EVENT, HEALTH, READING, replace

FOLDER = Path(__file__).parents[3] / "docs" / "schema"
TIMES = StageTimes(detect_ms=1, landmarks_ms=1, chip_ms=1, classify_ms=1, total_ms=3)
EXAMPLES: dict[str, msgspec.Struct] = {
    "event": replace(EVENT, seq=1),
    "state": State(faces=[READING], emotion="happy", time=utc_time(), camera="ok"),
    "status": Status(state="offline", boot="b", version="1"),
    "health": replace(HEALTH, frame_age_s=None, limit_fps=7.5, limited_by="temperature", stages=TIMES),
    "privacy/state": Privacy(paused=True, for_s=60.0, until=utc_time(), time=utc_time()),
    "privacy/set": PrivacyCommand(paused=True, for_s=3600),
}


def on_the_wire(payload: msgspec.Struct) -> Any:
    return msgspec.json.decode(msgspec.json.encode(payload))


@pytest.mark.parametrize("name", sorted(documents()))
def test_the_written_documents_are_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == documents()[name], (
        "the payload types have changed: run  python -m edge.events.schema docs/schema"
    )


def test_the_folder_holds_nothing_else() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(documents())


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_payloads_fit_their_schema_and_wrong_ones_do_not(channel: Any) -> None:
    schema = json_schema(channel)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    payload = on_the_wire(EXAMPLES[channel.name])
    validator.validate(payload)
    fields = msgspec.structs.fields(EXAMPLES[channel.name])
    for required in [field.name for field in fields if field.required][:2]:
        assert not validator.is_valid({key: value for key, value in payload.items() if key != required})


@pytest.mark.parametrize(("field", "wrong"), [("emotion", "joy"), ("box", [1, 2, 3]), ("seq", 0), ("confidence", 1.1)])
def test_an_event_with_an_impossible_value_does_not_fit(field: str, wrong: object) -> None:
    payload = on_the_wire(EXAMPLES["event"])
    assert not jsonschema.Draft202012Validator(json_schema(CHANNELS[0])).is_valid({**payload, field: wrong})


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_payloads_fit_the_asyncapi_document(channel: Any) -> None:
    document = asyncapi()
    message = document["components"]["messages"][channel.key]
    validator = jsonschema.Draft7Validator({**message["payload"], "components": document["components"]})
    validator.validate(on_the_wire(EXAMPLES[channel.name]))
    assert not validator.is_valid({})
    assert document["channels"][channel.key]["address"] == f"emotion/1/{{device}}/{channel.name}"


def test_the_command_writes_all_documents(tmp_path: Path) -> None:
    main([str(tmp_path / "new")])
    assert {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "new").iterdir()} == documents()
    with pytest.raises(UsageError, match="FOLDER"):
        main([])
