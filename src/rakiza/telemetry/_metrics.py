"""The registry of metrics, what the process says of itself, and the durations of requests."""

import asyncio
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from time import perf_counter
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from rakiza._kernel.clock import wall_seconds

from ._core import method_label

MAX_SERIES = 4_096
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
RequestKey = tuple[str, str, int]
Read = Callable[[], Iterable[tuple[tuple[str, ...], float]]]
_BOUNDS = (*map(str, BUCKETS), "+Inf")
TEXT = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
LOOK_SECONDS = 0.25
"""How often the event loop is asked how late it is."""
FADES = 0.9
"""What is left of the longest delay at each look: it halves in under two seconds."""


class Metrics:
    """Register and render metrics in the Prometheus text format and in OpenMetrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        GCCollector(self.registry)
        PlatformCollector(self.registry)
        ProcessCollector(registry=self.registry)  # shows nothing where there is no /proc
        self.watch("python_threads", "Threads of this process", threading.active_count)

    def counter(self, name: str, description: str, labels: tuple[str, ...] = ()) -> Counter:
        """Return a new counter; raise ValueError for a name in use."""
        return Counter(name, description, labels, registry=self.registry)

    def gauge(self, name: str, description: str, labels: tuple[str, ...] = ()) -> Gauge:
        """Return a new gauge; raise ValueError for a name in use."""
        return Gauge(name, description, labels, registry=self.registry)

    def histogram(self, name: str, description: str, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = BUCKETS) -> Histogram:
        """Return a new histogram; raise ValueError for a name in use."""
        return Histogram(name, description, labels, buckets=buckets, registry=self.registry)

    def watch(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Show what `read` returns at each look; raise ValueError for a name in use."""
        self.gauge(name, description).set_function(read)

    def watch_each(self, name: str, description: str, labels: tuple[str, ...], read: Read, *, counts: bool = False) -> None:
        """Show each value `read` returns at each look, with its labels; one that `counts` only grows. Raises ValueError for a name in use."""
        kind = CounterMetricFamily if counts else GaugeMetricFamily
        self.registry.register(_Family(lambda: kind(name, description, labels=labels), read))

    def render(self) -> bytes:
        """Return every metric in the text format 0.0.4."""
        return generate_latest(self.registry)

    def negotiated(self, accept: str) -> tuple[bytes, bytes]:
        """Return every metric and its content type: OpenMetrics 1.0 with exemplars for one who asks for it, else the text format."""
        wanted = next((part for part in accept.lower().split(",") if part.strip().startswith("application/openmetrics-text")), "q=0")
        if "q=0" in [each.strip() for each in wanted.split(";")]:
            return self.render(), TEXT
        return openmetrics(self.registry), OPENMETRICS  # type: ignore[no-untyped-call] # prometheus_client leaves it untyped


class _Family(Collector):
    def __init__(self, make: Callable[[], CounterMetricFamily | GaugeMetricFamily], read: Read) -> None:
        self._make, self._read = make, read

    def describe(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        yield self._make()

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        family = self._make()
        for labels, value in self._read():
            family.add_metric(labels, value)
        yield family


class LoopWatch:
    """Measure how late an event loop comes to what is due; reading it from another thread shows a loop that hangs right now."""

    _loop: asyncio.AbstractEventLoop | None = None
    _due = 0.0

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin with this running loop, from its own thread; a loop watched before is given up."""
        if self._loop is not loop:
            self._loop, self._worst = loop, 0.0
            self._next(loop)

    def forget(self) -> None:
        """Leave the loop to the parent of a fork."""
        self._loop = None

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = perf_counter() + LOOK_SECONDS
        loop.call_later(LOOK_SECONDS, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is loop:
            self._worst = max(self._worst * FADES, perf_counter() - self._due)
            self._next(loop)

    @property
    def seconds(self) -> float | None:
        """Return the longest delay of late, none without a running loop."""
        running = self._loop is not None and self._loop.is_running()
        return max(0.0, self._worst, perf_counter() - self._due) if running else None


class RequestTotals(msgspec.Struct, frozen=True):
    """Count the requests of one method, route and status since the start: `buckets[i]` took at most `BUCKETS[i]` seconds, the last one any time."""

    count: int
    seconds: float
    buckets: tuple[int, ...]


class RequestDurations(Collector):
    """Count requests by method, route and status; routes beyond the bound are counted together.

    Own cells instead of prometheus_client's: an observation costs half, one with an exemplar a fifth, and totals need no parsing of samples.
    """

    def __init__(self) -> None:
        self._cells: dict[RequestKey, list[float]] = {}  # a count for each bucket, then the seconds
        self._exemplars: dict[tuple[RequestKey, int], tuple[str, float, float]] = {}
        self.forget()

    def forget(self) -> None:
        """Take a new lock in a forked child; the counts go on."""
        self._lock = threading.Lock()

    def observe(self, key: RequestKey, seconds: float, trace_id: str | None) -> None:
        """Count one request; a sampled one names its trace."""
        cell, bucket = self._cells.get(key), bisect_left(BUCKETS, seconds)
        if cell is None:
            key = method_label(key[0]), key[1] if len(self._cells) < MAX_SERIES else "other", key[2]
        with self._lock:
            cell = cell or self._cells.setdefault(key, [0.0] * (len(_BOUNDS) + 1))
            cell[bucket] += 1
            cell[-1] += seconds
            if trace_id is not None and (len(self._exemplars) < MAX_SERIES or (key, bucket) in self._exemplars):
                self._exemplars[key, bucket] = (trace_id, seconds, wall_seconds())

    def totals(self) -> dict[RequestKey, RequestTotals]:
        """Return the counts of every method, route and status since the start."""
        with self._lock:
            cells = [(key, list(map(int, accumulate(cell[:-1]))), cell[-1]) for key, cell in self._cells.items()]
        return {key: RequestTotals(buckets[-1], seconds, tuple(buckets)) for key, buckets, seconds in cells}

    def describe(self) -> Iterator[HistogramMetricFamily]:
        yield HistogramMetricFamily("http_request_duration_seconds", "Time until the answer was sent", labels=("method", "route", "status"))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        for family in self.describe():
            for key, totals in self.totals().items():
                buckets = [self._bucket(key, *each) for each in enumerate(totals.buckets)]
                family.add_metric((key[0], key[1], str(key[2])), buckets, totals.seconds)
            yield family

    def _bucket(self, key: RequestKey, number: int, count: int) -> tuple[Any, ...]:
        seen = self._exemplars.get((key, number))
        return (_BOUNDS[number], count) if seen is None else (_BOUNDS[number], count, Exemplar({"trace_id": seen[0]}, seen[1], seen[2]))
