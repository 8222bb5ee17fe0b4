"""Settings of outgoing calls."""

from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from rakiza._kernel import RoomSettings

from ._core import Rules

Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class OutboundSettings(RoomSettings, frozen=True, kw_only=True):
    """Say how long outgoing calls may take, how often they are tried, and where they may go."""

    room: ClassVar[str] = "outbound"

    total_seconds: Seconds = 30.0
    """How long a call may take in all: its attempts, redirects, the waits between them and its body."""
    attempt_seconds: Seconds = 10.0
    """How long one attempt may wait for the head of the answer."""
    attempts: Annotated[int, msgspec.Meta(ge=1, le=20)] = 3
    """How often a call is tried that may be repeated: GET, HEAD, PUT, DELETE, OPTIONS, and POST with an `Idempotency-Key`."""
    retry_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.2
    """Retries of one client, as a share of its calls, beyond which it tries each call once: retries must not make an outage worse."""
    at_once: Count = 50
    """Calls of one client that are on their way at the same time."""
    queue: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 100
    """Calls of one client that wait for their turn; further ones are refused at once."""
    internal_hosts: tuple[str, ...] = ()
    """Hosts of your own, `billing` or `*.svc.cluster.local`: they may have private addresses, on any port, and are told how long we wait."""
    allowed_networks: tuple[str, ...] = ()
    """Networks any host may be in although they are not public, such as `10.20.0.0/16`."""
    ports: tuple[Annotated[int, msgspec.Meta(ge=0, le=65_535)], ...] = (80, 443)
    """Ports of hosts that are not your own; a 0 among them opens all."""
    ca_file: str = ""
    """A file with the certificates to trust instead of the system's, for servers with a private authority."""

    def __post_init__(self) -> None:
        """Raise ValueError for what is no network, and for a file that is not there."""
        _ = self.rules
        if self.ca_file and not Path(self.ca_file).is_file():
            raise ValueError(f"ca_file {self.ca_file!r} is no file")

    @property
    def rules(self) -> Rules:
        """Return where calls may go."""
        try:
            return Rules.of(self.internal_hosts, self.allowed_networks, self.ports)
        except ValueError as error:
            raise ValueError(f"allowed_networks: {error}; write 10.20.0.0/16 or fd12:3456::/32") from None
