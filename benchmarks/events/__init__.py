"""Measure the event store against the raw drivers and the `eventsourcing` library."""
