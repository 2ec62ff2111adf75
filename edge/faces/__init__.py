"""Faces: where they are, who is who from frame to frame, their 68 points, and the chip that a network looks at."""
