"""Scores over time to what happened: smoothing, episodes, payloads."""
