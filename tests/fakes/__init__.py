"""Stand-ins for what a test cannot have, one for each seam."""
