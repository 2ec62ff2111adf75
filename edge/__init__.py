"""emotion-edge on the device: camera, faces, emotions, MQTT events.

Importing this package loads nothing heavy; each module imports what it needs.
"""

__version__ = "0.2.0"
