"""The five emotions: their names, order and colours."""

from enum import StrEnum


class Emotion(StrEnum):
    """An emotion that the models can recognise; its place in `EMOTIONS` is its index in every score vector."""

    ANGRY = "angry"
    HAPPY = "happy"
    SAD = "sad"
    SURPRISE = "surprise"
    NEUTRAL = "neutral"


EMOTIONS: tuple[Emotion, ...] = tuple(Emotion)

UNCERTAIN = "uncertain"
"""The emotion of a face while no score reaches the confidence floor. No model has it as a class."""

COLOURS_BGR: dict[str, tuple[int, int, int]] = {
    Emotion.ANGRY: (60, 60, 230),
    Emotion.HAPPY: (60, 200, 250),
    Emotion.SAD: (220, 140, 60),
    Emotion.SURPRISE: (220, 90, 200),
    Emotion.NEUTRAL: (170, 190, 170),
    UNCERTAIN: (150, 150, 150),
}
"""Blue, green, red, 0..255, as OpenCV draws them."""
