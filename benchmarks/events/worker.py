"""Measure one side in a process of its own: `python -m benchmarks.events.worker raw|ours|peer` answers one JSON line for each JSON line.

A command is {"case": NAME, ...arguments}; the answer holds its figures, or {"failure": text}.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import traceback


def main(side: str) -> None:
    """Answer commands until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    cases = importlib.import_module(f"benchmarks.events.{side}").CASES
    for line in sys.stdin:
        command = json.loads(line)
        gc.collect()
        try:
            answer = cases[command.pop("case")](**command)
        except Exception as error:
            traceback.print_exc()
            answer = {"failure": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
