"""Errors of the cache."""


class CacheValueError(TypeError):
    """Say which value cannot be kept, where in it and of which type; the cache never fails for any other reason."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(f"the value for {key!r} cannot be cached: {what}")
        self.key = key
