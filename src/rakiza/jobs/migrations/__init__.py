"""Migrations of the job queue."""
