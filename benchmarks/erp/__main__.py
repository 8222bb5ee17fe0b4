"""Run the benchmark as `python -m benchmarks.erp`."""

from benchmarks.erp.run import main

raise SystemExit(main())
