"""Say when somebody's emotion changes: ``python examples/camera.py v4l2:/dev/video0``. Ctrl-C ends it."""

import sys

from edge import EmotionAnalyzer, EmotionEdgeError


def main(address: str) -> None:
    """Print a line whenever a face appears or its emotion changes."""
    known: dict[int, str] = {}
    for frame, faces in EmotionAnalyzer().follow(address):
        for face in faces:
            if known.get(face.track) != face.emotion:
                known[face.track] = face.emotion
                print(f"{frame.time_s:8.1f} s  face {face.track}: {face.emotion} ({face.confidence:.0%})", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "picamera2:0")
    except EmotionEdgeError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        pass
