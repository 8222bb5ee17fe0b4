"""Settings of the event store."""

from typing import Annotated, ClassVar

import msgspec

from rakiza._kernel import RoomSettings

Positive = Annotated[int, msgspec.Meta(ge=1)]


class EventSettings(RoomSettings, frozen=True, kw_only=True):
    """Bound what waits to be written and say how the log is sealed."""

    room: ClassVar[str] = "events"

    queue_events: Positive = 10_000
    """How many events may wait to be written in a process; further writers wait."""
    queue_timeout_seconds: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    """How long a writer waits for room in the queue."""
    batch_events: Positive = 500
    """How many events one commit takes at most."""
    max_event_bytes: Positive = 1024 * 1024
    """Bytes of one event's payload, metadata and sealed fields together."""
    retry_seconds: Annotated[float, msgspec.Meta(gt=0)] = 15.0
    """How long a write is repeated while PostgreSQL cannot be reached; it is idempotent."""
    seal: bool = True
    """Build the Merkle tree behind the writers and sign its states; needs the extra `events`."""
    seal_seconds: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 10.0
    """How often what is new is sealed, at the cost of one row each time; what was written since can still be changed unseen."""
    signing_key: str = ""
    """The Ed25519 key of the seals, 32 bytes in base64, one for all processes; empty means the file `<home>/keys/seal.key`, made at first use."""
    trusted_keys: tuple[str, ...] = ()
    """Public keys of earlier signing keys, as their `.pub` files have them: what they sealed stays valid after a change of key."""
    master_key: str = ""
    """The key that wraps the keys of persons, 32 bytes in base64; empty means the file `<home>/keys/personal.key`. Back it up apart from the data."""
    anchor_file: str = ""
    """The file outside the database that keeps the signed states; empty means `<home>/anchors/seals.notes`. Best on another machine's disk."""
    anchor_url: str = ""
    """Object storage that keeps the signed states as well, such as `s3://bucket/prefix`; needs the extra `offsite` and deserves an object lock."""
    anchor_seconds: Annotated[float, msgspec.Meta(ge=0)] = 60.0
    """How often the newest signed state is taken there."""
    poll_seconds: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.0
    """How often followers look for new events when no signal came."""
    takeover_seconds: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    """How long who keeps a projection or a consumer may be silent before another process takes over; it speaks three times in that time."""

    def __repr__(self) -> str:
        """Show everything but the keys."""
        secret = {"signing_key", "master_key"}
        return f"EventSettings({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__struct_fields__ if name not in secret)})"
