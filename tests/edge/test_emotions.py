"""The vocabulary that every other part shares."""

import json

from edge.emotions import COLOURS_BGR, EMOTIONS, UNCERTAIN, Emotion


def test_the_order_of_the_scores_is_fixed() -> None:
    assert list(EMOTIONS) == ["angry", "happy", "sad", "surprise", "neutral"]


def test_an_emotion_is_its_name_wherever_text_is_due() -> None:
    assert f"{Emotion.HAPPY}" == "happy"
    assert json.dumps({Emotion.SAD: Emotion.SAD}) == '{"sad": "sad"}'


def test_every_emotion_and_uncertainty_has_a_colour_of_its_own() -> None:
    assert set(COLOURS_BGR) == {*EMOTIONS, UNCERTAIN}
    assert len(set(COLOURS_BGR.values())) == len(COLOURS_BGR)
    assert all(0 <= channel <= 255 for colour in COLOURS_BGR.values() for channel in colour)


def test_uncertain_is_no_emotion() -> None:
    assert UNCERTAIN not in set(EMOTIONS)
