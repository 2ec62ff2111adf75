"""Many devices at one broker; see `benchmarks.fleet.__main__`."""
