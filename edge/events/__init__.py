"""From scores over time to events: smoothing, visits, and the payloads that are published."""
