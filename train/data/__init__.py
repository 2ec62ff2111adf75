"""Training data: read, checked, prepared, augmented."""
