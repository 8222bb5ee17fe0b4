"""Rate limiting without I/O: the generic cell rate algorithm (ITU-T I.371) over a bounded table."""

MAX_KEYS = 16_384


class Gcra:
    """Allow `limit` hits per `per_seconds` for each key, at most `burst` of them at once."""

    __slots__ = ("_arrival", "_max_keys", "_step", "_tolerance", "burst", "limit", "per_seconds")

    def __init__(self, limit: int, per_seconds: float = 60.0, burst: int | None = None, max_keys: int = MAX_KEYS) -> None:
        if limit < 1 or per_seconds <= 0:
            raise ValueError(f"a limit needs at least one hit per a positive time, got {limit} per {per_seconds} s")
        self.limit, self.per_seconds, self.burst = limit, per_seconds, burst or limit
        self._step = per_seconds / limit
        self._tolerance = self._step * self.burst
        self._arrival: dict[object, float] = {}
        self._max_keys = max_keys

    def hit(self, key: object, now: float) -> float:
        """Count one hit of `key` at `now` (monotonic seconds); return 0.0 when allowed, else the seconds to wait."""
        arrival = self._arrival.get(key, now)
        arrival = max(arrival, now)
        arrival += self._step
        wait = arrival - now - self._tolerance
        if wait > 1e-9:  # floating-point noise of the sum must not refuse the last allowed hit
            return wait
        if len(self._arrival) >= self._max_keys:
            self._evict(now)
        self._arrival[key] = arrival
        return 0.0

    def forget(self, key: object) -> None:
        """Give `key` its whole allowance back."""
        self._arrival.pop(key, None)

    def remaining(self, key: object, now: float) -> int:
        """Return how many hits `key` may still make at once."""
        ahead = max(0.0, self._arrival.get(key, now) - now)
        return int((self._tolerance - ahead) / self._step + 1e-9)

    def __len__(self) -> int:
        """Return the number of keys held."""
        return len(self._arrival)

    def _evict(self, now: float) -> None:
        # Other threads may add keys meanwhile; the copy is made in one step.
        live = {key: arrival for key, arrival in list(self._arrival.items()) if arrival > now}
        if len(live) > self._max_keys * 3 // 4:
            # The keys nearest to a full allowance lose least by being forgotten.
            keep = sorted(live.items(), key=lambda pair: pair[1])[(len(live) + 1) // 2 :]
            live = dict(keep)
        self._arrival = live
