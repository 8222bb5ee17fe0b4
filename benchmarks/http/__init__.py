"""Measure the cost of the whole layer on the wire and in process."""
