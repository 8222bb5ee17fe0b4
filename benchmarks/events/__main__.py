"""Run the benchmark as `python -m benchmarks.events`."""

from benchmarks.events.run import main

raise SystemExit(main())
