"""Home Assistant: the discovery message that describes this device to it."""
