"""Measure the job queue against the statements alone, dramatiq, procrastinate, pgqueuer, huey, saq and BullMQ."""
