"""Generate the JSON Schema and AsyncAPI documents from the payload types.

``python -m edge.events.schema docs/schema`` writes them; a test fails when the files do not match the types.
"""

import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from edge.errors import UsageError
from edge.events.payloads import CONTRACT_VERSION, EmotionEvent, Health, Privacy, PrivacyCommand, State, Status
from edge.settings import DEVICE_PATTERN

_VERBS = {"send": "publish", "receive": "obey"}
_DRAFT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class Channel:
    """One topic and its payload."""

    name: str
    """the topic after ``emotion/1/<device>/``"""
    payload: type[msgspec.Struct]
    retained: bool
    action: Literal["send", "receive"] = "send"
    """whether the device sends or receives it"""

    @property
    def key(self) -> str:
        """The name with characters that a file name and a JSON pointer allow."""
        return self.name.replace("/", "-")


CHANNELS = (
    Channel("event", EmotionEvent, retained=False),
    Channel("state", State, retained=True),
    Channel("status", Status, retained=True),
    Channel("health", Health, retained=True),
    Channel("privacy/state", Privacy, retained=True),
    Channel("privacy/set", PrivacyCommand, retained=False, action="receive"),
)


def json_schema(channel: Channel) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a payload; it allows unknown fields, which later versions may add."""
    identity = {
        "$schema": _DRAFT,
        "$id": f"urn:emotion-edge:{CONTRACT_VERSION}:{channel.name}",
        "title": f"emotion/{CONTRACT_VERSION}/<device>/{channel.name}",
    }
    return {**identity, **_tidy(msgspec.json.schema(channel.payload))}


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of all topics; https://www.asyncapi.com/docs/reference/specification/v3.0.0."""
    payloads, schemas = msgspec.json.schema_components(
        [channel.payload for channel in CHANNELS], ref_template="#/components/schemas/{name}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "emotion-edge",
            "version": f"{CONTRACT_VERSION}.0.0",
            "description": "What a device publishes and accepts. The version is the contract's, not the program's.",
        },
        "defaultContentType": "application/json",
        "channels": {channel.key: _channel(channel) for channel in CHANNELS},
        "operations": {f"{_VERBS[channel.action]}_{channel.key}": _operation(channel) for channel in CHANNELS},
        "components": {
            "messages": {
                channel.key: {"name": channel.key, "contentType": "application/json", "payload": payload}
                for channel, payload in zip(CHANNELS, payloads, strict=True)
            },
            "schemas": _as_draft_07(_tidy(schemas)),
        },
    }


def documents() -> dict[str, str]:
    """Return all documents: file name to text."""
    trees = {f"{channel.key}.schema.json": json_schema(channel) for channel in CHANNELS}
    trees["asyncapi.json"] = asyncapi()
    return {
        name: msgspec.json.format(msgspec.json.encode(tree), indent=2).decode() + "\n" for name, tree in trees.items()
    }


def _tidy(tree: Any) -> Any:
    """Remove the indentation of docstrings from descriptions: it depends on the Python version."""
    if isinstance(tree, dict):
        return {
            key: inspect.cleandoc(value).replace("``", "`") if key == "description" else _tidy(value)
            for key, value in tree.items()
        }
    return [_tidy(value) for value in tree] if isinstance(tree, list) else tree


def _as_draft_07(tree: Any) -> Any:
    """Write tuples as in draft 07, on which AsyncAPI's schema format is based."""
    if isinstance(tree, list):
        return [_as_draft_07(value) for value in tree]
    if not isinstance(tree, dict):
        return tree
    written = {key: _as_draft_07(value) for key, value in tree.items()}
    if "prefixItems" in written:
        written["additionalItems"] = written["items"]
        written["items"] = written.pop("prefixItems")
    return written


def _channel(channel: Channel) -> dict[str, Any]:
    return {
        "address": f"emotion/{CONTRACT_VERSION}/{{device}}/{channel.name}",
        "description": _summary(channel.payload),
        "messages": {channel.key: {"$ref": f"#/components/messages/{channel.key}"}},
        "parameters": {"device": {"description": f"name of the device, {DEVICE_PATTERN}"}},
    }


def _operation(channel: Channel) -> dict[str, Any]:
    return {
        "action": channel.action,
        "channel": {"$ref": f"#/channels/{channel.key}"},
        "messages": [{"$ref": f"#/channels/{channel.key}/messages/{channel.key}"}],
        "bindings": {"mqtt": {"qos": 1, "retain": channel.retained, "bindingVersion": "0.2.0"}},
    }


def _summary(payload: type) -> str:
    return (payload.__doc__ or "").strip().split("\n")[0].replace("``", "`")


def main(arguments: list[str]) -> None:
    """Write the documents into a folder.

    Raises `UsageError`: there is not exactly one argument.
    """
    if len(arguments) != 1:
        raise UsageError("usage: python -m edge.events.schema FOLDER")
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
