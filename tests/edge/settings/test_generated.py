"""A thousand generated settings files: each is taken, or refused with a reason that names the key; none crashes."""

import math
import os
import random
import string
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from edge.errors import ConfigError
from edge.settings import ENVIRONMENT_PREFIX, Settings, load_settings
from edge.settings.show import as_toml, shown_settings, shown_values
from edge.settings.types import fields_of, is_section

FILES = 1000
SECTIONS = {key: kind for key, kind in fields_of(Settings).items() if is_section(kind)}
KEYS = [key for key in fields_of(Settings) if key not in SECTIONS]
KEYS += [f"{section}.{key}" for section, kind in SECTIONS.items() for key in fields_of(kind)]
DEFAULTS = {key: value for key, value, _ in shown_values(Settings(device="hall", state_dir="/x"))}
ODD_TEXTS = [
    "", " ", "a", "true", "0", "-1", "mqtt://b", "mqtts://u@b:8883", "mqtt://u:p@b", "mqtt://[::1", "rtsp://u:p@h/x",
    "demo:", "v4l2:", "file:", "../../etc/passwd", "\x00", "a\nb", "é", "🙂", "\u202e", "x" * 5000, "{}", "%s", "cnn",
    "${HOME}", "nan", "1e999", "mqtt://" + "a." * 400, "mqtt://b:99999", "mqtt://\ud7ff",
]  # fmt: skip
ODD_VALUES: list[Any] = [
    True, False, 0, 1, -1, 2, 10, 100, 2**31, 2**63, -(2**63), 10**30, 0.0, -0.0, 0.5, 1e-300, 1e308,
    math.inf, -math.inf, math.nan, [], {}, [[]], {"a": {"b": {}}}, [1, "a", None], {"url": "mqtt://b"},
]  # fmt: skip


def toml_value(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float():
            return (
                "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf") if math.isinf(value) else repr(value)
            )
        case str():
            return '"' + "".join(escaped(letter) for letter in value) + '"'
        case list():
            return "[" + ", ".join(toml_value(one) for one in value if one is not None) + "]"
        case dict():
            return "{" + ", ".join(f"{key} = {toml_value(one)}" for key, one in value.items()) + "}"
    return str(value)


def escaped(letter: str) -> str:
    return letter if letter.isprintable() and letter not in '"\\' else f"\\U{ord(letter):08x}"


def generated(seed: int) -> tuple[bytes, list[str]]:
    """A settings file and the keys that it sets; every tenth is text that has been damaged."""
    draw = random.Random(seed)
    chosen = draw.sample(KEYS, draw.randint(1, 5))
    if draw.random() < 0.3:
        chosen.append(misspelt(draw, draw.choice(KEYS)))
    top = list[str]()
    sections = dict[str, list[str]]()
    for key in chosen:
        odd = draw.choice(ODD_TEXTS) if draw.random() < 0.5 else draw.choice(ODD_VALUES)
        value = DEFAULTS.get(key, odd) if draw.random() < 0.7 else odd
        section, dot, name = key.rpartition(".")
        lines = sections.setdefault(section, []) if dot else top
        lines.append(f"{name} = {toml_value(value)}")
    if draw.random() < 0.1:
        sections.setdefault(misspelt(draw, draw.choice([*SECTIONS])), []).append("a = 1")
    text = "\n".join([*top, *(f"[{name}]\n" + "\n".join(lines) for name, lines in sections.items())])
    content = text.encode()
    if seed % 10 == 0 and content:
        at = draw.randrange(len(content))
        content = content[:at] + bytes([draw.randrange(256)]) + content[at + draw.randint(0, 3) :]
    return content, chosen


def misspelt(draw: random.Random, key: str) -> str:
    at = draw.randrange(len(key))
    return (key[:at] + draw.choice(string.ascii_lowercase) + key[at + 1 :]).strip(".").replace("..", ".")


def check(load: Path, environment: dict[str, str], keys: list[str], flags: dict[str, str | None] | None = None) -> bool:
    """Load settings; True where they were taken. Any other error than the one a user reads is a failure."""
    try:
        settings = load_settings(load, environment=environment, flags=flags)
    except ConfigError as error:
        message = str(error)
        assert "\n" not in message
        assert message.isprintable() or "not TOML" in message, repr(message)
        assert len(message) < 1000, "an error is a line"
        named = "not TOML" in message or any(part in message for key in keys for part in key.split("."))
        assert named or "there is no setting" in message, message
        return False
    # What was taken holds for every type and bound, and can be written down and read again.
    assert msgspec.convert(msgspec.to_builtins(settings), Settings) == settings
    return True


@pytest.mark.slow("reads a thousand generated files")
def test_a_thousand_files_are_taken_or_refused_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    taken = 0
    for seed in range(FILES):
        content, keys = generated(seed)
        path.write_bytes(content)
        try:
            taken += check(path, {}, keys)
        except Exception as error:
            raise AssertionError(f"file {seed}: {content!r}") from error
    # Both ends are reached: else the generator tries nothing.
    assert 0.1 * FILES < taken < 0.9 * FILES


@profile(max_examples=200)
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_file_that_is_refused_or_taken(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content)
    check(path, {}, [])


def test_variables_and_flags_are_taken_or_refused_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("")
    draw = random.Random(1)
    taken = 0
    for _ in range(FILES // 4):
        key = draw.choice(KEYS) if draw.random() < 0.8 else misspelt(draw, draw.choice(KEYS))
        value = draw.choice([*ODD_TEXTS, *map(str, ODD_VALUES)])
        name = ENVIRONMENT_PREFIX + key.upper().replace(".", "__")
        taken += check(path, {name: value}, [key])
        taken += check(path, {}, [key], flags={key: value})
    assert 0 < taken < FILES // 2


def test_settings_shown_are_a_file_that_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    shown_path = tmp_path / "shown.toml"
    same = 0
    for seed in range(0, FILES, 5):
        path.write_bytes(generated(seed)[0])
        try:
            settings = load_settings(path, environment={})
        except ConfigError:
            continue
        text = as_toml(shown_settings(path, environment={}), "none")
        shown_path.write_text(text, encoding="utf-8")
        if "***" not in text:  # nothing was to be redacted
            assert load_settings(shown_path, environment={}) == settings
            same += 1
    assert same > 5


def test_this_process_has_no_settings_of_its_own() -> None:
    assert not [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]
