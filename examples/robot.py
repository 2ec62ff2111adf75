"""A robot that smiles back: ``python examples/robot.py picamera2:0``.

`Robot` prints what it does. Put the calls for your own motors, lights or loudspeaker there; on a Raspberry Pi that may
be ``gpiozero.LED(17).on()``.
"""

import sys
from contextlib import closing

from edge import EmotionAnalyzer, EmotionEdgeError, Face


class Robot:
    """Waves at whoever smiles, once a visit, and turns its head to the nearest person."""

    def __init__(self, frame_width: int) -> None:
        self._frame_width = frame_width
        self._greeted: set[int] = set()

    def see(self, faces: list[Face]) -> None:
        """React to the faces of one frame, of which the first is the largest and so the nearest."""
        if faces:
            self.turn(faces[0].box.centre[0] / self._frame_width - 0.5)
        for face in faces:
            if face.emotion == "happy" and face.track not in self._greeted:
                self._greeted.add(face.track)
                self.wave(face.track)

    def turn(self, direction: float) -> None:
        """Turn the head: -0.5 is the left edge of the picture, 0.5 the right one."""
        side = "left" if direction < -0.1 else "right" if direction > 0.1 else "ahead"
        print(f"looking {side}", flush=True)

    def wave(self, track: int) -> None:
        """Wave at a person."""
        print(f"waving at person {track}", flush=True)


def main(address: str) -> None:
    """Follow the camera until it ends or Ctrl-C is pressed."""
    robot: Robot | None = None
    with closing(EmotionAnalyzer().follow(address)) as frames:  # closes the camera, whatever happens
        for frame, faces in frames:
            robot = robot or Robot(frame.width)
            robot.see(faces)


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "picamera2:0")
    except EmotionEdgeError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        pass
