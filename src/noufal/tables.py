"""The ERP's metadata, shared by its nouns; one version table for all of them."""

from rakiza.store import new_metadata

metadata = new_metadata()
