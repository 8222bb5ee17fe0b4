"""Migrations of the security room."""
