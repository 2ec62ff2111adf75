"""Bundles on a device: where they come from, where they are kept, which one runs."""
