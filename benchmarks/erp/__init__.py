"""Measure noufal as a site office uses it."""
