"""Who is in a photo, and how do they feel: ``python examples/photo.py photo.jpg``."""

import sys

from edge import EmotionAnalyzer

for face in EmotionAnalyzer().analyze(sys.argv[1]):
    print(f"{face.emotion} ({face.confidence:.0%}) at {face.box.x}, {face.box.y}")
