"""Fakes for what a test cannot use: one for each interface."""
