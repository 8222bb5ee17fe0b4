"""How long a test waits for what must come, and how often one tries: the machine may be busy, and what comes at once costs nothing."""

import os
import time
from collections.abc import Callable

SECONDS = 120
"""The one limit of all waits; pytest ends a test that waits for ever otherwise."""
ROUNDS = int(os.environ.get("RK_TEST_ROUNDS", "1"))  # noqa: TID251 - a setting of the tests, not of the product
"""So many times over are loops that kill, race or search gone through: more for a long search."""


def until(holds: Callable[[], object], what: object = "it did not come to pass") -> None:
    """Return once `holds()` is true; raise AssertionError that says `what` when it never is."""
    end, pause = time.monotonic() + SECONDS, 0.002
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(pause)
        pause = min(pause * 1.2, 0.05)
