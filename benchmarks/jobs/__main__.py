"""Run the benchmark as `python -m benchmarks.jobs`."""

from benchmarks.jobs.run import main

raise SystemExit(main())
