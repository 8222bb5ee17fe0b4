"""What builds a platform again in another process: all that was given in code, as data."""

import msgspec

AS_GIVEN = "--as-given"
"""The argument by which `python -m rakiza` builds the platform that its standard input describes."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """Name what the environment and `.env` do not tell another process, and who asks it to work."""

    settings: dict[str, dict[str, object]] = {}
    config: dict[str, object] = {}
    """Of the application's settings those that a room reads."""
    environ: dict[str, str] | None = None
    """The environment when one was given in place of the process's own."""
    extra: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    """Where modules are found."""
    request_id: str = ""
    user_id: str | None = None
    client: str = ""

    def written(self) -> bytes:
        """Return it as JSON; it may hold secrets. Raises TypeError for a setting that is no data."""
        return msgspec.json.encode(self, enc_hook=_plain)


def _plain(value: object) -> str:
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be handed to another process")
