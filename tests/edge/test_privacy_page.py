"""docs/privacy.md lists all that is written: held to the modules that write, the topics, and the log of a visit."""

import ast
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

import edge
from edge.daemon.event_log import COUNT_EVERY_S, EventLog
from edge.emotions import EMOTIONS
from edge.events.visits import Visits
from edge.mqtt.topics import Topics
from edge.settings import SmoothingSettings
from tests.edge.daemon.test_loop import HAPPY, SAD, a_face
from tests.fakes.clock import FakeClock

PACKAGE = Path(edge.__file__).parent
PAGE = (PACKAGE.parent / "docs/privacy.md").read_text(encoding="utf-8")
WRITERS = {
    "bundles/place.py": "`bundles/`",
    "bundles/store.py": "`bundles/`",
    "cli/bundle.py": "a bundle that is being checked",
    "cli/config.py": "`emotion-edge config init",
    "cli/demo.py": "`demo.png`",
    "cli/doctor.py": "`emotion-edge doctor --picture FILE`",
    "cli/classify_files.py": "`emotion-edge classify --annotate DIR`",
    "cli/measure.py": "the outbox of `bench`",
    "cli/report.py": "`emotion-edge report`",
    "daemon/privacy.py": "`privacy-pause`",
    "daemon/service.py": "the state folder",
    "doctor/machine.py": "`doctor` makes an empty file",
    "doctor/user.py": "service's password in memory",
    "download.py": "what `classify` fetches",
    "events/schema.py": "",  # a developer's command: docs/schema
    "faces/detector.py": "`detector-….svm`",
    "files.py": "",  # for the modules above
    "homeassistant/kept.py": "`published.json`",
    "inference/blazeface.py": "`blazeface-full-range.tflite`",
    "inference/networks.py": "",  # /dev/null
    "mqtt/outbox/repair.py": "`outbox.sqlite3.damaged-TIME`",
    "mqtt/outbox/tables.py": "`outbox.sqlite3`",
    "record/lines.py": "`emotion-edge collect`",
    "settings/card.py": "`emotion-edge config take`",
    "settings/doc.py": "",  # a developer's command: docs/settings.md
}
"""Modules that write files, and the words of the page that stand for it."""
CALLS = {
    "NamedTemporaryFile", "TemporaryDirectory", "TemporaryFile", "copyfile", "copytree", "imwrite", "memfd_create",
    "mkdir", "mkdtemp", "mkstemp", "pwrite", "rename", "replace_file", "symlink_to", "touch", "write_bytes",
    "write_folder", "write_text",
}  # fmt: skip


def writing_calls(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        text = ast.unparse(node)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        values = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
        mode = "".join(str(value.value) for value in values if isinstance(value, ast.Constant))
        opens = name in ("open", "fdopen") and (mode.strip("rwaxbt+") == "" and set(mode) & set("wax+"))
        if name in CALLS or opens or "O_CREAT" in text or "sqlite3.connect(" in text:
            yield f"{module.name}:{node.lineno} {text[:60]}"


@pytest.mark.parametrize("name", sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")))
def test_privacy_page_accounts_for_each_module_that_writes(name: str) -> None:
    calls = list(writing_calls(PACKAGE / name))
    if not calls:
        return
    assert name in WRITERS, f"docs/privacy.md must say what is written here: {calls}"
    assert WRITERS[name] in PAGE


def test_privacy_page_names_every_topic() -> None:
    topics = Topics("hall")
    names = vars(topics).keys() - {"device", "privacy_set"}
    assert len(names) >= 5
    for name in names:
        assert f"`{getattr(topics, name).removeprefix('emotion/1/hall/')}`" in PAGE


def visit(events: EventLog, clock: FakeClock) -> None:
    visits = Visits(SmoothingSettings(), forget_after_s=2.0)
    for index in range(60):
        events.add(visits.update([a_face(HAPPY if index < 30 else SAD)], index / 15))
        events.write_counts()
    events.add(visits.close(4.0))


def test_log_counts_events_and_names_no_emotion(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    clock = FakeClock()
    events = EventLog(clock, each=False)
    visit(events, clock)
    visit(events, clock)
    assert caplog.messages == []
    clock.pass_time(COUNT_EVERY_S)
    events.write_counts()
    clock.pass_time(COUNT_EVERY_S)
    events.write_counts()
    assert caplog.messages == ["in 60 s: 2 appeared, 2 emotions changed, 2 left"]
    events.write_counts(at_once=True)
    visit(events, clock)
    events.write_counts(at_once=True)
    assert caplog.messages[1:] == ["in 0 s: 1 appeared, 1 emotions changed, 1 left"]
    assert not any(str(emotion) in message for emotion in EMOTIONS for message in caplog.messages)


def test_log_has_each_event_where_that_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = FakeClock()
    events = EventLog(clock, each=True)
    visit(events, clock)
    events.write_counts(at_once=True)
    assert [message.split(":")[0] for message in caplog.messages] == [
        "face 1 face_appeared",
        "face 1 emotion_changed",
        "face 1 face_left",
    ]
    assert "sad" in caplog.messages[-1]
