"""Settings of the request pass."""

from typing import Annotated, ClassVar

import msgspec

from rakiza._kernel import RoomSettings


class WebSettings(RoomSettings, frozen=True, kw_only=True):
    """Say what the pass allows before an application sees a request."""

    room: ClassVar[str] = "web"

    rate_limit_per_minute: Annotated[int, msgspec.Meta(ge=1)] = 6_000
    """Requests a minute from one address (an IPv6 /64 counts as one)."""
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1)] = 10 * 1024 * 1024
    """Largest request body of the application in bytes; platform routes state their own."""
    request_timeout_seconds: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    """Time a request has; calls it makes inherit what is left. Its body may take longer only while it comes at 1 KiB/s or more."""
    trusted_proxies: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    """How many reverse proxies of one's own stand in front; only their forwarding headers are believed."""
    allowed_hosts: tuple[str, ...] = ()
    """External host names, when a proxy changes the Host header; used to judge the Origin of a write."""
    protect_application: bool = False
    """Give the application's own answers the full security headers and its writes the cross-site rule."""
