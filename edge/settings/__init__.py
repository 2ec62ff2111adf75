"""Settings: the types, reading them, and showing what is in force.

`load_settings` reads and checks all of them, `read_password` the broker's password, `read_token` the page's token.
`edge.settings.show` prints the settings with their origins; ``python -m edge.settings.doc FILE`` writes the page of
all settings.
"""

from edge.settings.credentials import load_certificate, read_password, read_token
from edge.settings.hosts import is_address, is_loopback
from edge.settings.loading import ENVIRONMENT_PREFIX, load_settings, require_state_dir, settings_file
from edge.settings.messages import check_url
from edge.settings.types import (
    DEVICE_PATTERN,
    CameraWatchSettings,
    FaceSettings,
    HomeAssistantSettings,
    LogSettings,
    MqttSettings,
    PowerSettings,
    Settings,
    SmoothingSettings,
    WebSettings,
    Zone,
)

__all__ = [
    "DEVICE_PATTERN",
    "ENVIRONMENT_PREFIX",
    "CameraWatchSettings",
    "FaceSettings",
    "HomeAssistantSettings",
    "LogSettings",
    "MqttSettings",
    "PowerSettings",
    "Settings",
    "SmoothingSettings",
    "WebSettings",
    "Zone",
    "check_url",
    "is_address",
    "is_loopback",
    "load_certificate",
    "load_settings",
    "read_password",
    "read_token",
    "require_state_dir",
    "settings_file",
]
