"""The ERP's metadata, shared by its nouns; one version table for all of them."""

from rakiza.store import metadata as named_metadata

metadata = named_metadata()
