"""Home Assistant: what it is told about this device."""
