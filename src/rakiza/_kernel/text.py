"""Text helpers that must not fail themselves."""


def describe(error: BaseException) -> str:
    """Return the text of an exception even when its own `str` raises."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - border: foreign `__str__`
        return f"<{type(error).__name__} whose text cannot be read>"
