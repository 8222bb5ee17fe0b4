"""Slow down guessing: a limit for each address, a limit and a growing wait for each account; in memory, per process."""

import threading
from collections import OrderedDict

from rakiza._kernel import Clock, Gcra

from ._core import backoff_seconds, client_network

MAX_ACCOUNTS = 16_384


class Throttle:
    """Decide whether a sign-in may be tried now, for known and unknown accounts alike."""

    def __init__(self, per_account: int, per_address: int, clock: Clock) -> None:
        self._clock = clock
        self.restart()
        self._accounts = Gcra(per_account, 60.0)
        self._addresses = Gcra(per_address, 60.0)
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def restart(self) -> None:
        """Take a new lock in a forked child; the counts go on."""
        self._lock = threading.Lock()

    def wait(self, account: str, address: str) -> float:
        """Count one attempt; return 0.0 when it may go on, else the seconds to wait."""
        now = self._clock.monotonic()
        with self._lock:
            blocked = self._address(address, now)
            if blocked or not account:
                return blocked
            count, failed_at = self._failures.get(account, (0, 0.0))
            blocked = failed_at + backoff_seconds(count) - now if count else 0.0
            return blocked if blocked > 0 else self._accounts.hit(account, now)

    def failed(self, account: str) -> int:
        """Count one failure; return how many in a row there were."""
        with self._lock:
            count = self._failures.pop(account, (0, 0.0))[0] + 1
            self._failures[account] = (count, self._clock.monotonic())
            if len(self._failures) > MAX_ACCOUNTS:
                self._failures.popitem(last=False)
            return count

    def succeeded(self, account: str) -> None:
        """Give the account its whole allowance back."""
        with self._lock:
            self._failures.pop(account, None)
            self._accounts.forget(account)

    def _address(self, address: str, now: float) -> float:
        return self._addresses.hit(client_network(address), now) if address else 0.0
