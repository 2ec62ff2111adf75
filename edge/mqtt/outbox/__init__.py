"""Events on disk until the broker has acknowledged them."""
