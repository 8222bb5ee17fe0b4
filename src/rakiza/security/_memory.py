"""Sessions known from memory for a few seconds: bounded, and never older than the last revocation in this process."""

import threading

from rakiza._kernel import Clock, Principal


class SessionMemory:
    """Map tokens to principals for a short while."""

    def __init__(self, seconds: float, entries: int, clock: Clock) -> None:
        self._seconds = seconds
        self._max = entries
        self._monotonic = clock.monotonic
        self.generation = 0
        self.restart()

    def restart(self) -> None:
        """Begin with nothing and a new lock, in a forked child."""
        self._entries: dict[str, tuple[float, Principal]] = {}
        self._lock = threading.Lock()

    def get(self, token: str) -> Principal | None:
        """Return the principal of a token seen within the last seconds, or none."""
        entry = self._entries.get(token)
        return entry[1] if entry is not None and entry[0] > self._monotonic() else None

    def put(self, token: str, principal: Principal, generation: int, seconds_left: float) -> None:
        """Keep a principal read from storage, unless something was revoked since `generation` was looked at."""
        until = self._monotonic() + min(self._seconds, seconds_left)
        with self._lock:
            if generation != self.generation:
                return
            if len(self._entries) >= self._max:
                self._evict()
            self._entries[token] = (until, principal)

    def forget(self, token: str) -> None:
        """Forget one session."""
        with self._lock:
            self.generation += 1
            self._entries.pop(token, None)

    def forget_user(self, user_key: int) -> None:
        """Forget every session of a user."""
        with self._lock:
            self.generation += 1
            self._entries = {token: entry for token, entry in self._entries.items() if entry[1].user_key != user_key}

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self.generation += 1
            self._entries = {}

    def _evict(self) -> None:
        now = self._monotonic()
        live = [(token, entry) for token, entry in self._entries.items() if entry[0] > now]
        self._entries = dict(live[len(live) - self._max * 3 // 4 :] if len(live) > self._max * 3 // 4 else live)
