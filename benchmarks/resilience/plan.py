"""What is measured: the sides, the tables they take part in, the columns, and the goals as ratios of one run."""

from __future__ import annotations

from benchmarks.turns import Column, Goal, Program

KINDS = ("breaker", "pipeline", "correctness")
ALONE, PIPELINE = frozenset({"breaker"}), frozenset({"pipeline"})
BREAKER = ALONE | {"correctness"}
BUILT = {"pipeline": True}
NODE = "peers/node_policies.js"
OURS, SLOW, TIME = "ours", "ours, slow calls too", "ours, window of time"
RETRY, BULKHEAD, TIMEOUT = "ours, Retry", "ours, Bulkhead", "ours, Timeout"
FOUR, STANDARD = "ours, four policies", "ours, @resilient"


def _nopanic(title: str, policy: str, base: str, kinds: frozenset[str] = ALONE) -> Program:
    return Program(title, "peers.nopanic_policies", kinds, {"policy": policy}, base=base)


PROGRAMS = [
    Program(OURS, "ours", BREAKER),
    Program(SLOW, "ours", BREAKER, {"kind": "slow"}, base=SLOW),
    Program(TIME, "ours", BREAKER, {"kind": "time"}, base=TIME),
    Program("the bare call", "raw", ALONE, {"kind": "Bare"}),
    Program("pybreaker", "peers.pybreaker_breaker", BREAKER),
    Program("purgatory", "peers.purgatory_breaker", BREAKER),
    Program("circuitbreaker", "peers.circuitbreaker_breaker", BREAKER),
    _nopanic("nopanic", "breaker", OURS, BREAKER),
    _nopanic("nopanic, slow calls too", "slow", SLOW, BREAKER),
    Program("opossum (Node)", NODE, BREAKER, {"node": "opossum breaker"}),
    Program("cockatiel (Node)", NODE, BREAKER, {"node": "cockatiel breaker"}),
    Program(RETRY, "ours", ALONE, {"kind": "retry"}, base=RETRY),
    Program("tenacity", "peers.retries", ALONE, {"library": "tenacity"}, base=RETRY),
    Program("stamina", "peers.retries", ALONE, {"library": "stamina"}, base=RETRY),
    _nopanic("nopanic, retry", "retry", RETRY),
    Program(BULKHEAD, "ours", ALONE, {"kind": "bulkhead"}, base=BULKHEAD),
    Program("semaphore of the standard library", "raw", ALONE, {"kind": "Semaphore"}, base=BULKHEAD),
    _nopanic("nopanic, bulkhead", "bulkhead", BULKHEAD),
    Program(TIMEOUT, "ours", ALONE, {"kind": "timeout"}, base=TIMEOUT),
    Program("asyncio.timeout", "raw", ALONE, {"kind": "Timeout"}, base=TIMEOUT),
    _nopanic("nopanic, timeout", "timeout", TIMEOUT),
    Program(FOUR, "ours", PIPELINE, {"kind": "pipeline"}, base=FOUR),
    Program(STANDARD, "ours", PIPELINE, {"kind": "resilient"}, base=FOUR),
    _nopanic("nopanic, four policies", "pipeline", FOUR, PIPELINE),
    Program("stamina + purgatory + Semaphore + asyncio.timeout", "peers.retries", PIPELINE, BUILT | {"library": "stamina"}, base=FOUR),
    Program("tenacity + circuitbreaker + Semaphore + asyncio.timeout", "peers.retries", PIPELINE, BUILT | {"library": "tenacity"}, base=FOUR),
    Program("cockatiel (Node), four policies", NODE, PIPELINE, {"node": "cockatiel pipeline"}, base=FOUR),
    Program("opossum (Node), breaker + capacity + timeout", NODE, PIPELINE, {"node": "opossum pipeline"}, base=FOUR),
]
TITLES = {
    "breaker": "One policy round a call that succeeds at once: ns of processor time (times ours)",
    "pipeline": "Retry, breaker, bulkhead and timeout round one call: ns of processor time (times ours)",
    "correctness": "Who is let through",
}
COLUMNS: dict[str, tuple[Column, ...]] = {
    "breaker": (Column("sync", "plain"), Column("async", "awaited")),
    "pipeline": (Column("async", "awaited"),),
    "correctness": (
        Column("probes", "half open, 50 threads (right 1)", compared=False), Column("aprobes", "half open, 50 tasks (right 1)", compared=False),
        Column("hung", "after a hung probe, of 5 (right 5)", compared=False),
        Column("cancelled", "after a cancelled probe, of 5 (right 5)", compared=False),
        Column("late", "after a late success, of 5 (right 0)", compared=False),
        Column("parallel", "10 threads x 100 ms when closed, ms (right 100)", compared=False),
    ),
}


def goals() -> list[Goal]:
    """Return what is to be reached."""
    found = [Goal("breaker", SLOW, column, 0.85, "nopanic, slow calls too", test="<=") for column in ("sync", "async")]
    found += [Goal("pipeline", FOUR, "async", 1, other, test="<=") for other in ("nopanic, four policies", "cockatiel (Node), four policies")]
    for row in (OURS, SLOW, TIME):
        found += [Goal("correctness", row, column, 1, test="=") for column in ("probes", "aprobes")]
        found += [Goal("correctness", row, column, 5, test="=") for column in ("hung", "cancelled")]
        found += [Goal("correctness", row, "late", 0, test="="), Goal("correctness", row, "parallel", 110, test="<=")]
    return found
