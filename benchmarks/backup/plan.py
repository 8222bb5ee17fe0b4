"""What is measured: the sides, the tables they take part in, the columns, and the goals as ratios of one run."""

from __future__ import annotations

from benchmarks.turns import Column, Goal, Program

KINDS = ("copy", "sqlite", "postgresql", "memory", "http")
ANSWER_SECONDS = 1800
OURS, TEXT, CP, ON_DISK, CP_ON_DISK = "ours", "ours, text", "cp, which may tear", "ours, on the disk", "cp, on the disk"
ITERDUMP, DUMP = "iterdump + gzip 6", "sqlite3 .dump to gzip -6"
PLAIN, CUSTOM = "pg_dump > file", "pg_dump -Fc"
QUIET, BESIDE, WITHIN = "no backup", "ours, in a process of its own", "ours, in the server's process"


def _raw(title: str, kind: str, how: str, base: str = OURS, **options: str) -> Program:
    return Program(title, "raw", frozenset({kind}), {"how": how, **options}, base=base)


PROGRAMS = [
    Program(OURS, "ours", frozenset({"copy", "sqlite", "postgresql"})),
    _raw(CP, "copy", "cp"),
    _raw("backup API, one step", "copy", "backup"),
    _raw("VACUUM INTO", "copy", "vacuum"),
    _raw("the writer alone", "copy", "nothing"),
    Program(ON_DISK, "ours", frozenset({"copy"}), {"place": "disk"}, base=ON_DISK),
    _raw(CP_ON_DISK, "copy", "cp", ON_DISK, place="disk"),
    Program(TEXT, "ours", frozenset({"sqlite"}), {"text": True}, base=OURS),
    _raw(ITERDUMP, "sqlite", "iterdump"),
    _raw(DUMP, "sqlite", "dump"),
    _raw(PLAIN, "postgresql", "plain"),
    _raw("pg_dump to zstd -3", "postgresql", "plain zstd"),
    _raw(CUSTOM, "postgresql", "custom"),
    _raw("pg_dump -Fc -Z1", "postgresql", "custom 1"),
    Program("ours, SQLite, a tenth", "ours", frozenset({"memory"}), {"database": "sqlite", "share": 0.1}),
    Program("ours, SQLite", "ours", frozenset({"memory"}), {"database": "sqlite", "share": 1.0}),
    Program("ours, PostgreSQL, a tenth", "ours", frozenset({"memory"}), {"database": "postgresql", "share": 0.04}),
    Program("ours, PostgreSQL", "ours", frozenset({"memory"}), {"database": "postgresql", "share": 0.4}),
]
SHARES = {"copy": 1.0, "sqlite": 0.2, "postgresql": 0.4, "http": 0.4}
"""How large the database of a table is, as a share of what was asked for: text takes too long for more."""
TITLES = {
    "copy": "The copy alone, while another process writes 300 transactions a second (times ours)",
    "sqlite": "SQLite: a whole backup, checked, and brought back (times ours)",
    "postgresql": "PostgreSQL: a whole backup, checked, and brought back (times ours)",
    "memory": "MB of memory above what the process had",
    "http": "noufal on uvicorn over SQLite while a backup runs: ms, as a client sees them",
}
_WHOLE = (
    Column("seconds", "backup s"), Column("processor", "processor s"), Column("mb", "MB"), Column("restore", "restore s"),
    Column("restore_processor", "restore, processor s"), Column("verify", "verify s", compared=False),
    Column("away", "nobody could write, s", compared=False),
)
COLUMNS: dict[str, tuple[Column, ...]] = {
    "copy": (
        Column("seconds", "s"), Column("processor", "processor s"),
        *(Column(name, f"writer {name} ms", compared=False) for name in ("p50", "p99", "max")),
        Column("locked", "locked", compared=False),
    ),
    "sqlite": _WHOLE,
    "postgresql": _WHOLE,
    "memory": tuple(Column(name, title, compared=False) for name, title in (
        ("raw", "database MB"), ("create", "backup"), ("verify", "verify"), ("restore", "restore"))),
    "http": tuple(Column(name, title, compared=False) for name, title in (
        ("read_p50", "read p50"), ("read_p99", "read p99"), ("write_p50", "write p50"), ("write_p99", "write p99"),
        ("stalls", "answers of /livez > 20 ms, %"), ("seconds", "seconds"), ("requests", "requests"))),
}


def goals() -> list[Goal]:
    """Return the goals."""
    large = (f"{OURS}, SQLite", f"{OURS}, PostgreSQL")
    memory = [Goal("memory", title, what, 64, test="<=") for title in large for what in ("create", "verify", "restore")]
    http = [Goal("http", row, f"{what}_p99", 2, QUIET, "<=") for row in (BESIDE, WITHIN) for what in ("read", "write")]
    return [
        Goal("copy", OURS, "seconds", 2.5, CP, "<="), Goal("copy", ON_DISK, "seconds", 2.5, CP_ON_DISK, "<="),
        Goal("copy", OURS, "p99", 1, test="<="), Goal("copy", OURS, "locked", 0, test="="), Goal("sqlite", ITERDUMP, "seconds", 4, OURS),
        Goal("sqlite", ITERDUMP, "processor", 4, OURS),
        Goal("sqlite", DUMP, "restore", 10, OURS), Goal("sqlite", OURS, "away", 1, test="<="),
        Goal("postgresql", CUSTOM, "seconds", 3, OURS), Goal("postgresql", CUSTOM, "processor", 3, OURS),
        Goal("postgresql", OURS, "seconds", 1.1, PLAIN, "<="), Goal("postgresql", OURS, "mb", 1.05, CUSTOM, "<="),
        Goal("postgresql", OURS, "away", 0.1, test="<="), *memory, *http,
    ]
