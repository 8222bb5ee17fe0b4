"""Settings of the error room."""

from typing import Annotated, ClassVar

import msgspec

from rakiza._kernel import RoomSettings


class ErrorSettings(RoomSettings, frozen=True, kw_only=True):
    """Say where unexpected errors go."""

    room: ClassVar[str] = "errors"
    env: ClassVar[dict[str, str]] = {"sentry_dsn": "SENTRY_DSN", "environment": "SENTRY_ENVIRONMENT", "release": "SENTRY_RELEASE"}

    sentry_dsn: str = ""
    """Address of a Sentry project; without it `sentry-sdk` is not even imported."""
    environment: str = ""
    """Environment told to Sentry; that of the application when empty."""
    release: str = ""
    """Version of the application, kept with each error."""
    send_email: bool = False
    """Whether Sentry also learns the e-mail address of the user."""
    keep_days: Annotated[int, msgspec.Meta(ge=1)] = 90
    """Days after which an error that was not seen again is forgotten."""
