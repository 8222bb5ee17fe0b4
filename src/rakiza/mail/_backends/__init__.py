"""Ways a message can leave."""

from typing import Protocol

import msgspec

from rakiza.mail._message import Letter


class Delivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """Say where a message went, to how many, who was refused for good and who is to be tried again; the reasons are the server's."""

    where: str
    accepted: int
    refused: dict[str, str] = {}
    deferred: dict[str, str] = {}


class Transport(Protocol):
    """Take messages out of the house."""

    where: str

    def deliver(self, letter: Letter) -> Delivery:
        """Deliver a message to at least one recipient; raise MailUnavailableError or MailRefusedError; blocks."""
        ...
