"""Run the benchmark as `python -m benchmarks.backup`."""

from benchmarks.backup.run import main

raise SystemExit(main())
