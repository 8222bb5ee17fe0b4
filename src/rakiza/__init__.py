"""Give a Python business back end its production layer by one call."""

__version__ = "0.1.0"
