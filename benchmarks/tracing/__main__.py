"""Run the benchmark of tracing: `python -m benchmarks.tracing`."""

import sys

from benchmarks.tracing.run import main

sys.exit(main(sys.argv[1:]))
