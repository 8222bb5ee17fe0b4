"""The registry of metrics, what the process says of itself, and the durations of requests."""

import asyncio
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate
from time import perf_counter
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Exemplar, HistogramMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from rakiza._kernel.clock import wall_seconds

from ._core import method_label

MAX_SERIES = 4_096
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
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

    def render(self) -> bytes:
        """Return every metric in the text format 0.0.4."""
        return generate_latest(self.registry)

    def negotiated(self, accept: str) -> tuple[bytes, bytes]:
        """Return every metric and its content type: OpenMetrics 1.0 with exemplars for one who asks for it, else the text format."""
        wanted = next((part for part in accept.lower().split(",") if part.strip().startswith("application/openmetrics-text")), "q=0")
        if "q=0" in [each.strip() for each in wanted.split(";")]:
            return self.render(), TEXT
        return openmetrics(self.registry), OPENMETRICS  # type: ignore[no-untyped-call] # prometheus_client leaves it untyped


class LoopWatch:
    """Measure how late an event loop comes to what is due; reading it from another thread shows a loop that hangs right now."""

    _loop: asyncio.AbstractEventLoop | None = None
    _due = 0.0

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin with this running loop, from its own thread; a loop watched before is given up."""
        if self._loop is not loop:
            self._loop, self._worst = loop, 0.0
            self._next(loop)

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


class Series:
    """Count the requests of one method, route and status."""

    __slots__ = ("_counts", "_exemplars", "_lock", "_seconds")

    def __init__(self) -> None:
        self._counts = [0] * len(_BOUNDS)
        self._exemplars: dict[int, tuple[str, float, float]] = {}
        self._seconds = 0.0
        self._lock = threading.Lock()

    def observe(self, seconds: float, trace_id: str | None) -> None:
        bucket = bisect_left(BUCKETS, seconds)
        with self._lock:
            self._counts[bucket] += 1
            self._seconds += seconds
        if trace_id is not None:
            self._exemplars[bucket] = (trace_id, seconds, wall_seconds())

    def totals(self) -> RequestTotals:
        with self._lock:
            buckets, seconds = tuple(accumulate(self._counts)), self._seconds
        return RequestTotals(buckets[-1], seconds, buckets)

    def bucket(self, number: int, count: int) -> tuple[Any, ...]:
        """Return one bucket in the form of prometheus_client."""
        seen = self._exemplars.get(number)
        return (_BOUNDS[number], count) if seen is None else (_BOUNDS[number], count, Exemplar({"trace_id": seen[0]}, seen[1], seen[2]))


class RequestDurations(Collector):
    """Hold the series of the request pass; routes beyond the bound are counted together.

    Own cells instead of prometheus_client's: an observation costs a quarter, and totals need no parsing of samples.
    """

    def __init__(self) -> None:
        self.series: dict[tuple[str, str, int], Series] = {}
        self._lock = threading.Lock()

    def new(self, key: tuple[str, str, int]) -> Series:
        """Return the series of a key that was not seen before."""
        method, route, status = method_label(key[0]), key[1], key[2]
        with self._lock:
            if len(self.series) >= MAX_SERIES:
                route = "other"
            return self.series.setdefault((method, route, status), Series())

    def totals(self) -> dict[tuple[str, str, int], RequestTotals]:
        """Return the counts of every method, route and status since the start."""
        return {key: series.totals() for key, series in list(self.series.items())}

    def describe(self) -> Iterator[HistogramMetricFamily]:
        yield HistogramMetricFamily("http_request_duration_seconds", "Time until the answer was sent", labels=("method", "route", "status"))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        for family in self.describe():
            for (method, route, status), series in list(self.series.items()):
                totals = series.totals()
                buckets = [series.bucket(*each) for each in enumerate(totals.buckets)]
                family.add_metric((method, route, str(status)), buckets, totals.seconds)
            yield family
