"""Faces: detection, tracking from frame to frame, the 68 landmarks, and the chip that a network sees."""
