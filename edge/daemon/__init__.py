"""The daemon: camera to broker, joined."""
