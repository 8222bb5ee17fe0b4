"""Commands for mail."""

import sys
from collections.abc import Callable

import msgspec

from rakiza._kernel import Command

from .service import MailService

LISTED = 50


def commands(mail: MailService) -> tuple[Command, ...]:
    """Return the commands of mail."""
    return (
        Command("mail test", lambda: _test(mail), "Send a message that says that mail works"),
        Command("mail outbox", lambda: _outbox(mail), "List the newest messages that were written to files"),
    )


def _test(mail: MailService) -> Callable[..., None]:
    def test(address: str) -> None:
        """Send a message that says that mail works, at once, and say where it went."""
        _say(f"the message to {address} went to {mail.test(address).where}")

    return test


def _outbox(mail: MailService) -> Callable[..., None]:
    def outbox(json: bool = False) -> None:
        """List the newest messages that were written to files; --json for a script."""
        kept = mail.outbox.newest(LISTED)
        if json:
            _say(msgspec.json.encode(kept).decode())
            return
        for one in kept:
            _say("\t".join((one.at.isoformat(timespec="seconds") if one.at else "-", one.to, one.subject, one.file)))

    return outbox


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
