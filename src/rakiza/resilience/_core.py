"""The circuit breaker as a state machine without clock, lock or I/O: who calls it says what time it is and lets in one thread at a time."""

from typing import Final, NamedTuple, TypeAlias

import msgspec

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half_open"
SOON_SECONDS = 1.0
"""When to come again while the probes of a half-open breaker are out."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Say when a breaker opens and how it closes again."""

    window: int = 100
    time_window_seconds: int = 0
    failure_rate: float = 0.5
    slow_seconds: float = 0.0
    slow_rate: float = 1.0
    min_calls: int = 10
    open_seconds: float = 30.0
    probes: int = 1
    lease_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Raise ValueError for a breaker that could never open or never close."""
        for name, least in (("window", 1), ("min_calls", 1), ("probes", 1), ("time_window_seconds", 0), ("slow_seconds", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be {least} or more, not {getattr(self, name)}")
        for name in ("failure_rate", "slow_rate"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share above 0 and up to 1, not {getattr(self, name)}")
        for name in ("open_seconds", "lease_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")

    @property
    def least_calls(self) -> int:
        """Return how many calls must be in the window before a rate counts, at most as many as the window holds."""
        return self.min_calls if self.time_window_seconds else min(self.min_calls, self.window)


class Totals(msgspec.Struct):
    """Count calls since the start; a slow one is also counted by how it ended."""

    succeeded: int = 0
    failed: int = 0
    slow: int = 0
    rejected: int = 0
    ignored: int = 0
    late: int = 0
    probes: int = 0


class Change(NamedTuple):
    """Tell of a change of state: why, for how many seconds at most (0 for no end), and who said so."""

    before: str
    after: str
    why: str
    seconds: float
    by_hand: bool = False
    followed: bool = False
    """Whether another process found it, or an operator said it there."""


class Era:
    """Be one stretch of time in one state, and the ticket of every call let in while closed; an answer with another ticket is late."""

    __slots__ = ("forced", "free", "out", "since", "state", "succeeded", "until", "why")

    def __init__(self, state: str, since: float, until: float, *, why: str = "", forced: bool = False) -> None:
        self.state, self.since, self.until, self.why, self.forced = state, since, until, why, forced
        self.free = state is CLOSED and not forced
        """Whether calls pass without a look at the clock."""
        self.out: dict[Probe, None] = {}
        self.succeeded = 0

    @property
    def shown(self) -> str:
        """Return the state, `forced_open` and `forced_closed` when it is forced."""
        return f"forced_{self.state}" if self.forced else self.state


class Probe:
    """Be the ticket of one call let in while half open."""

    __slots__ = ("since",)

    def __init__(self, since: float) -> None:
        self.since = since


Ticket: TypeAlias = Era | Probe


class CallRing:
    """Remember how the last `size` calls ended: bit 0 failed, bit 1 slow."""

    __slots__ = ("_at", "_bits", "_size", "count", "failures", "slows")

    def __init__(self, size: int) -> None:
        self._size, self._bits = size, bytearray(size)
        self._at = self.count = self.failures = self.slows = 0

    def add(self, _: float, failed: bool, slow: bool) -> None:
        """Count one call in place of the oldest one."""
        at, bits = self._at, self._bits
        if self.count == self._size:
            old = bits[at]
            if old:
                self.failures -= old & 1
                self.slows -= old >> 1
        else:
            self.count += 1
        bits[at] = failed | slow << 1
        if failed:
            self.failures += 1
        if slow:
            self.slows += 1
        at += 1
        self._at = at if at < self._size else 0

    def advance(self, now: float) -> None:
        """Keep everything, however old."""


class SecondRing:
    """Remember how the calls of the last `seconds` seconds ended, one bucket for each second."""

    __slots__ = ("_buckets", "_second", "_seconds", "count", "failures", "slows")

    def __init__(self, seconds: int, now: float) -> None:
        self._seconds, self._second = seconds, int(now)
        self._buckets = [[0, 0, 0] for _ in range(seconds)]
        self.count = self.failures = self.slows = 0

    def add(self, now: float, failed: bool, slow: bool) -> None:
        """Count one call in its second; one of a second that has passed meanwhile counts in the latest."""
        self.advance(now)
        bucket = self._buckets[self._second % self._seconds]
        bucket[0] += 1
        bucket[1] += failed
        bucket[2] += slow
        self.count += 1
        self.failures += failed
        self.slows += slow

    def advance(self, now: float) -> None:
        """Empty the buckets that have left the window, each once, however long the pause was."""
        second = int(now)
        if second <= self._second:
            return
        for passed in range(max(self._second + 1, second - self._seconds + 1), second + 1):
            bucket = self._buckets[passed % self._seconds]
            if bucket[0]:
                self.count -= bucket[0]
                self.failures -= bucket[1]
                self.slows -= bucket[2]
                bucket[:] = 0, 0, 0
        self._second = second


class Machine:
    """Decide which calls pass. `era` is read without a lock: state and generation are one attribute; everything else needs one."""

    __slots__ = ("changes", "era", "rules", "totals", "window")

    def __init__(self, rules: Rules, now: float) -> None:
        self.rules, self.totals = rules, Totals()
        self.changes: list[Change] = []
        """What has changed since somebody last emptied this list."""
        self.era = Era(CLOSED, now, now)
        self.window = self._empty(now)

    def _empty(self, now: float) -> CallRing | SecondRing:
        seconds = self.rules.time_window_seconds
        return SecondRing(seconds, now) if seconds else CallRing(self.rules.window)

    def _to(self, state: str, now: float, why: str, *, seconds: float = 0.0, by_hand: bool = False, followed: bool = False) -> Era:
        before, self.era = self.era, Era(state, now, now + seconds, why=why, forced=by_hand and seconds > 0)
        self.changes.append(Change(before.shown, self.era.shown, why, seconds, by_hand, followed))
        if state is not HALF_OPEN:
            self.window = self._empty(now)
        return self.era

    def enter(self, now: float) -> Ticket | None:
        """Return the ticket of a call, none when it is refused."""
        era = self.settle(now)
        if era.state is OPEN and now >= era.until:
            era = self._to(HALF_OPEN, now, "open_time_over")
        if era.state is CLOSED:
            return era
        if era.state is HALF_OPEN:
            self._take_back_hung(era, now)
            if len(era.out) + era.succeeded < self.rules.probes:
                probe = Probe(now)
                era.out[probe] = None
                self.totals.probes += 1
                return probe
        self.totals.rejected += 1
        return None

    def _take_back_hung(self, era: Era, now: float) -> None:
        """Free the places of probes past their lease; what those answer later is late."""
        while era.out:
            oldest = next(iter(era.out))
            if now - oldest.since < self.rules.lease_seconds:
                return
            del era.out[oldest]

    def leave(self, ticket: Ticket, now: float, failed: bool, seconds: float) -> None:
        """Count the answer to a call that took `seconds`; a late one changes nothing."""
        era, rules, totals = self.era, self.rules, self.totals
        slow = 0.0 < rules.slow_seconds <= seconds
        if ticket is not era and (not isinstance(ticket, Probe) or ticket not in era.out):
            totals.late += 1
            return
        if failed:
            totals.failed += 1
        else:
            totals.succeeded += 1
        if slow:
            totals.slow += 1
        if isinstance(ticket, Probe):
            self._probed(era, ticket, now, "probe_failed" if failed else "probe_slow" if slow else "")
            return
        window = self.window
        window.add(now, failed, slow)
        if (window.failures or window.slows) and era.free:
            self._judge(now)

    def _judge(self, now: float) -> None:
        window, rules = self.window, self.rules
        if window.count < rules.least_calls:
            return
        if window.failures / window.count >= rules.failure_rate:
            self._to(OPEN, now, "failures", seconds=rules.open_seconds)
        elif window.slows and window.slows / window.count >= rules.slow_rate:
            self._to(OPEN, now, "slow_calls", seconds=rules.open_seconds)

    def _probed(self, era: Era, probe: Probe, now: float, trouble: str) -> None:
        del era.out[probe]
        if trouble:
            self._to(OPEN, now, trouble, seconds=self.rules.open_seconds)
            return
        era.succeeded += 1
        if era.succeeded >= self.rules.probes:
            self._to(CLOSED, now, "probes_succeeded")

    def cancel(self, ticket: Ticket) -> None:
        """Take a ticket back that was neither success nor failure."""
        if isinstance(ticket, Probe) and ticket in self.era.out:
            del self.era.out[ticket]
        elif ticket is not self.era:
            self.totals.late += 1
            return
        self.totals.ignored += 1

    def force(self, state: str, now: float, seconds: float, why: str, *, followed: bool = False) -> None:
        """Be open or closed whatever happens, for so many seconds; then probe, or count anew. No seconds at all: close, with nothing counted."""
        self._to(state if seconds else CLOSED, now, why, seconds=seconds, by_hand=True, followed=followed)

    def follow(self, state: str, now: float, seconds: float, why: str) -> None:
        """Take over the state another process has found; a state an operator has forced here stays."""
        if not self.settle(now).forced and (state is OPEN or self.era.state is not CLOSED):
            self._to(state, now, why, seconds=seconds, followed=True)

    def settle(self, now: float) -> Era:
        """End a forced state whose time is over and return the era at hand."""
        era = self.era
        if era.forced and now >= era.until:
            return self._to(HALF_OPEN if era.state is OPEN else CLOSED, now, "forced_time_over")
        return era

    def retry_after(self, now: float) -> float:
        """Return the seconds after which another call may pass."""
        era = self.era
        if era.state is OPEN:
            return max(0.0, era.until - now)
        return min(SOON_SECONDS, self.rules.lease_seconds) if era.state is HALF_OPEN else 0.0


class Gradient:
    """Find a limit from latencies: the usual latency over the present one says how much of the limit is used well.

    The constants are those of Netflix's Gradient2Limit: a window of 600 answers after 10 to warm up, four places for bursts, a fifth of
    the way at each answer; 0.9 for an answer that ran out of time is that of its AIMDLimit.
    """

    __slots__ = ("_count", "_least", "_most", "_tolerance", "limit", "usual_seconds")
    WINDOW, WARMUP, BURST, SMOOTHING, BACKOFF = 600, 10, 4, 0.2, 0.9

    def __init__(self, start: int, least: int, most: int, tolerance: float) -> None:
        self.limit, self.usual_seconds = float(start), 0.0
        self._count, self._least, self._most, self._tolerance = 0, least, most, tolerance

    @property
    def bounds(self) -> tuple[int, int]:
        """Return the least and the largest limit."""
        return self._least, self._most

    def answered(self, seconds: float, in_flight: int) -> None:
        """Learn from one answer, given how many calls were at work."""
        usual = self._averaged(seconds)
        if usual > 2.0 * seconds:
            self.usual_seconds *= 0.95  # after an overload the average is too long; come back sooner
        if in_flight < self.limit / 2.0:
            return  # the limit was not what kept it
        gradient = max(0.5, min(1.0, self._tolerance * usual / seconds)) if seconds > 0 else 1.0
        aim = self.limit * gradient + self.BURST
        self._move(self.limit * (1.0 - self.SMOOTHING) + aim * self.SMOOTHING)

    def dropped(self) -> None:
        """Learn from one call that ran out of time."""
        self._move(self.limit * self.BACKOFF)

    def _averaged(self, seconds: float) -> float:
        if self._count < self.WARMUP:
            self._count += 1
            self.usual_seconds += (seconds - self.usual_seconds) / self._count
        else:
            self.usual_seconds += (seconds - self.usual_seconds) * 2.0 / (self.WINDOW + 1)
        return self.usual_seconds

    def _move(self, limit: float) -> None:
        self.limit = max(float(self._least), min(float(self._most), limit))
