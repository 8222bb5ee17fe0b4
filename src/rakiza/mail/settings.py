"""Settings of mail."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec

from rakiza._kernel import RoomSettings

from ._core import address

PORTS = {"starttls": 587, "tls": 465, "none": 25}
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class MailSettings(RoomSettings, frozen=True, kw_only=True):
    """Say by which server mail leaves and who sends it."""

    room: ClassVar[str] = "mail"

    host: str = ""
    """The SMTP server; when empty, messages are written to the folder `outbox` instead of being sent."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    """Its port; 0 is the usual one: 587 for `starttls`, 465 for `tls`, 25 for `none`."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is encrypted; with `starttls` a server that does not offer it gets no message."""
    username: str = ""
    """Who signs in at the server; nobody when empty."""
    password: str = ""
    """The password of `username`."""
    ca_file: str = ""
    """A file with the certificates to trust instead of the system's, for a server with a private authority."""
    sender: str = ""
    """Who sends, as `نوفل <no-reply@example.com>`; needed with `host`."""
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=600)] = 30.0
    """How long each step of a delivery may take."""
    outbox: str = ""
    """The folder for messages when there is no server; empty means `<home>/outbox`."""

    def __post_init__(self) -> None:
        """Raise ValueError for settings with which no message could leave."""
        if self.sender:
            _checked(self.sender)
        elif self.host:
            raise ValueError("sender is needed with a host: who is the mail from, such as `نوفل <no-reply@example.com>`?")
        if not (self.username + self.password).isascii():
            raise ValueError("username and password must be in ASCII")
        if self.ca_file and not Path(self.ca_file).is_file():
            raise ValueError(f"ca_file {self.ca_file!r} is no file")
        if self.username and self.security == "none" and self.host not in LOOPBACK:
            raise ValueError("security must be starttls or tls where a password is sent to another machine")

    def __repr__(self) -> str:
        """Show everything but the password."""
        return f"MailSettings({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__struct_fields__ if name != 'password')})"


def _checked(sender: str) -> None:
    try:
        address(sender)
    except ValueError as error:
        raise ValueError(f"sender {error}") from None
