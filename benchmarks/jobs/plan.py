"""What is measured: the sides, how many jobs each gets, and the goals as ratios of one run."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.jobs.programs import Program

KINDS = ("drain", "enqueue", "latency", "waiting", "idle", "kill")
SQLITE, POSTGRESQL = "ours, SQLite", "ours, PostgreSQL"
PLAIN = {"plain": True}
IN_ONE_PROCESS = ", in one process"

PROGRAMS = (
    Program(SQLITE, "sqlite", "ours"),
    Program(f"{SQLITE}, plain", "sqlite", "ours", PLAIN),
    Program(POSTGRESQL, "postgresql", "ours"),
    Program(f"{POSTGRESQL}, plain", "postgresql", "ours", PLAIN),
    Program("raw, SQLite", "sqlite", "raw"),
    Program("raw, PostgreSQL", "postgresql", "raw"),
    Program("huey, SQLite", "sqlite", "peers.huey_queue"),
    Program("procrastinate, PostgreSQL", "postgresql", "peers.procrastinate_queue"),
    Program("pgqueuer, PostgreSQL", "postgresql", "peers.pgqueuer_queue"),
    Program("dramatiq, Redis", "redis", "peers.dramatiq_queue"),
    Program("saq, Redis", "redis", "peers.saq_queue"),
    Program("BullMQ (Node), Redis", "redis", "peers/bullmq.js"),
)
DRAINED = {  # about a second and a half of work
    "ours": 12_000, "raw": 15_000, "peers.huey_queue": 3_000, "peers.procrastinate_queue": 800, "peers.pgqueuer_queue": 8_000,
    "peers.dramatiq_queue": 5_000, "peers.saq_queue": 2_500, "peers/bullmq.js": 15_000,
}
WITHOUT_BULK = {"peers.huey_queue", "peers.dramatiq_queue", "peers.saq_queue"}  # they put many one after the other
PACED, WAITED = 120, 6_000
TOGETHER = ("ours", "peers.procrastinate_queue", "peers.pgqueuer_queue", "peers/bullmq.js")  # measured within one process too


def takes_part(kind: str, program: Program) -> bool:
    """Return whether a side is measured in a table."""
    if program.options:
        return kind in {"drain", "enqueue"}
    return {"waiting": program.module == "ours", "idle": program.module != "raw", "kill": program.module != "raw"}.get(kind, True)


class Goal(NamedTuple):
    """Compare a figure with the same one of another row, or with a number when there is no other."""

    kind: str
    row: str
    other: str | None
    column: str
    wanted: float
    at_most: bool = False

    @property
    def title(self) -> str:
        """Return the goal as text."""
        return f"{self.kind}: {self.row}" + (f" / {self.other}" if self.other else f", {COLUMNS[self.column]}")


COLUMNS = {
    "per_second": "jobs/s", "microseconds": "CPU µs/job", "one_per_second": "one by one, jobs/s", "bulk_per_second": "bulk, jobs/s",
    "p50_ms": "p50 ms", "p99_ms": "p99 ms",
    "without_per_second": "alone, jobs/s", "with_per_second": "others wait, jobs/s", "ratio": "with / without", "percent": "CPU %",
    "orphans": "in flight", "lost": "not done", "twice": "twice", "recovered_seconds": "recovered, s",
}
SHOWN = {
    "drain": ("per_second", "microseconds"), "enqueue": ("one_per_second", "bulk_per_second"), "latency": ("p50_ms", "p99_ms"),
    "waiting": ("without_per_second", "with_per_second", "ratio"), "idle": ("percent",), "kill": ("orphans", "lost", "twice", "recovered_seconds"),
}
COMPARED = {"drain": ("per_second",), "enqueue": ("one_per_second", "bulk_per_second")}


def goals() -> list[Goal]:
    """Return what is to be reached."""
    found = [
        Goal("drain", SQLITE, None, "per_second", 5000),
        Goal("drain", POSTGRESQL, None, "per_second", 3000),
        Goal("drain", SQLITE, "huey, SQLite", "per_second", 4),
        Goal("drain", POSTGRESQL, "procrastinate, PostgreSQL", "per_second", 5),
        Goal("drain", POSTGRESQL, "pgqueuer, PostgreSQL", "per_second", 0.8),
    ]
    for row in (SQLITE, POSTGRESQL):
        found += [
            Goal("latency", row, None, "p50_ms", 7, at_most=True),
            Goal("latency", row, None, "p99_ms", 20, at_most=True),
            Goal("waiting", row, None, "ratio", 0.8),
            Goal("idle", row, None, "percent", 1, at_most=True),
            Goal("kill", row, None, "lost", 0, at_most=True),
        ]
    return found
