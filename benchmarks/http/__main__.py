"""Run the benchmark as `python -m benchmarks.http`."""

from benchmarks.http.run import main

raise SystemExit(main())
