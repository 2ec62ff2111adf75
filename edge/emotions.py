"""The five emotions, their order and their colours: the vocabulary that everything else shares."""

from enum import StrEnum


class Emotion(StrEnum):
    """An emotion that the models know; its place in `EMOTIONS` is its index in every score vector."""

    ANGRY = "angry"
    HAPPY = "happy"
    SAD = "sad"
    SURPRISE = "surprise"
    NEUTRAL = "neutral"


EMOTIONS: tuple[Emotion, ...] = tuple(Emotion)

UNCERTAIN = "uncertain"
"""What a face's emotion is called while no score is above the confidence floor. Not a class of any model."""

COLOURS_BGR: dict[str, tuple[int, int, int]] = {
    Emotion.ANGRY: (60, 60, 230),
    Emotion.HAPPY: (60, 200, 250),
    Emotion.SAD: (220, 140, 60),
    Emotion.SURPRISE: (220, 90, 200),
    Emotion.NEUTRAL: (170, 190, 170),
    UNCERTAIN: (150, 150, 150),
}
"""Blue, green, red, 0..255, as OpenCV draws them."""
