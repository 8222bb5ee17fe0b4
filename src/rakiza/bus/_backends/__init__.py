"""One file per way in which processes of one database hear from each other."""

from typing import Protocol

from rakiza.store import Transaction


class Ear(Protocol):
    """Hear what other processes write."""

    period_seconds: float

    def look(self) -> None:
        """Wait a moment for signals and tell what was heard."""
        ...

    def close(self) -> None:
        """Give the connection back; the next look opens one."""
        ...

    def forget(self) -> None:
        """Leave the connection to the parent of a fork."""
        ...


class Carrier(Protocol):
    """Carry messages between the processes of one database."""

    def begin(self) -> None:
        """Begin to hear; may be called often."""
        ...

    def send(self, topic: str, message: str, tx: Transaction) -> None:
        """Send with the transaction."""
        ...

    def forget(self) -> None:
        """Be another process's after a fork."""
        ...

    def receive(self, topic: str, said: str | None) -> None:
        """Take what an ear heard of a topic, none when it has only begun to listen."""
        ...
