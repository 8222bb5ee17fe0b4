"""Run a contractor's bills of quantities, schedules and invoices, Arabic first."""
