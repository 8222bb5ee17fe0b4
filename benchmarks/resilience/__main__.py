"""Run the benchmark as `python -m benchmarks.resilience`."""

from benchmarks.resilience.run import main

raise SystemExit(main())
