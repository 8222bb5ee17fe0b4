"""One file per medium of the second level."""
