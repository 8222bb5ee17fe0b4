"""Measure the project against peers and against the bare frameworks, in ratios of one run."""
