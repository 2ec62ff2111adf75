"""The daemon: from the camera's frames to events at the broker."""
