"""Watch this machine's clock: against time itself, and against the database's clock."""

import logging
from datetime import datetime

import sqlalchemy as sa

from rakiza._kernel import CheckResult, Clock
from rakiza.health._core import jumped
from rakiza.store import Store, StoreError

HOLD_SECONDS = 600.0
"""How long a jump stays a warning."""
_NOW = sa.text("SELECT clock_timestamp()")
log = logging.getLogger("rakiza.health")


class ClockWatch:
    """Compare each look with the one before."""

    def __init__(self, clock: Clock, limit_seconds: float, store: Store | None) -> None:
        self._clock, self._limit = clock, limit_seconds
        self._store = store if store is not None and store.dialect == "postgresql" else None
        self._before = (clock.now(), clock.monotonic())
        self._jump, self._hold_until = 0.0, 0.0

    def look(self) -> CheckResult:
        """Warn about a jump for a while, and about a difference as long as it lasts."""
        now = (self._clock.now(), self._clock.monotonic())
        jump, self._before = jumped(self._before, now), now
        if abs(jump) > self._limit:
            self._jump, self._hold_until = jump, now[1] + HOLD_SECONDS
            log.warning("the clock of this machine jumped by %+.1f s", jump)
        skew = self._skew()
        if abs(skew) > self._limit:
            return CheckResult("warn", round(skew, 3), "s", f"the clock is {skew:+.1f} s off that of the database")
        if now[1] < self._hold_until:
            return CheckResult("warn", round(self._jump, 3), "s", f"the clock jumped by {self._jump:+.1f} s")
        return CheckResult("pass", round(skew, 3), "s")

    def _skew(self) -> float:
        if self._store is None:
            return 0.0
        begun = self._clock.monotonic()
        try:
            with self._store.read() as tx:
                theirs: datetime = tx.scalar(_NOW)
        except (StoreError, sa.exc.SQLAlchemyError):
            return 0.0  # the check of the database says so
        return (self._clock.now() - theirs).total_seconds() - (self._clock.monotonic() - begun) / 2
