"""Write 300 transactions a second into a SQLite database until standard input ends, then print how long they took: `… FILE WAIT_SECONDS`."""

from __future__ import annotations

import json
import select
import sqlite3
import sys
import time

PER_SECOND = 300


def main(file: str, wait_seconds: float) -> None:
    """Write; where nothing is waited for, a lock is seen as an error, else as a long transaction."""
    connection = sqlite3.connect(file, isolation_level=None, timeout=wait_seconds)
    connection.execute("pragma synchronous=normal")
    took, locked, begun, number = [], 0, time.perf_counter(), 0
    while not select.select([sys.stdin], [], [], max(0.0, begun + number / PER_SECOND - time.perf_counter()))[0]:
        start = time.perf_counter()
        try:
            connection.execute("begin immediate")
            connection.execute("update scale set weight = weight + case side when 1 then 7 else -7 end")
            connection.execute("update invoice set net = net + 1 where id = ?", [number * 7919 % 10_000])
            connection.execute("commit")
        except sqlite3.OperationalError:
            locked += 1
            if connection.in_transaction:
                connection.execute("rollback")
        took.append(time.perf_counter() - start)
        number += 1
        if number == 1:
            print("writing", flush=True)
    took.sort()
    parts = {name: took[min(len(took) - 1, int(len(took) * share))] * 1000 for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}
    print(json.dumps(parts | {"locked": locked, "per_second": number / (time.perf_counter() - begun)}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
