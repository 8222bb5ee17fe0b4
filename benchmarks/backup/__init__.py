"""Measure backups against cp, the backup API, VACUUM INTO, .dump, iterdump and the forms of pg_dump."""
