"""The ERP's migrations."""
