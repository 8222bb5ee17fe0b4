"""Run the benchmark as `python -m benchmarks.cache`."""

from benchmarks.cache.run import main

raise SystemExit(main())
