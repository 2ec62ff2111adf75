"""emotion-edge's way from a trained network to a verified bundle for the device."""
