"""Messages as files, for machines without a mail server."""

import contextlib
import os
import tempfile
from datetime import datetime
from email.parser import HeaderParser
from email.policy import default
from pathlib import Path

import msgspec

from rakiza.mail._message import Letter
from rakiza.mail.errors import MailUnavailableError

from . import Delivery

MAX_KEPT = 10_000
"""Messages in the folder; the oldest go first."""


class Kept(msgspec.Struct, frozen=True):
    """Describe a message in the folder."""

    file: str
    at: datetime | None
    to: str
    subject: str


class Outbox:
    """Write each message to a file of its own, `<moment>-<identity>.eml`, readable by its owner alone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.where = folder, str(folder)

    def deliver(self, letter: Letter) -> Delivery:
        """Write a message whole or not at all; one written before under the same identity is replaced."""
        identity = letter.message_id.strip("<>").partition("@")[0]
        try:
            self.folder.mkdir(0o700, parents=True, exist_ok=True)
            before = self.names()
            name = next((one for one in before if one.endswith(f"-{identity}.eml")), f"{letter.date:%Y%m%dT%H%M%S%f}-{identity}.eml")
            _write(self.folder / name, letter.render(readable=True))
            for old in sorted(before, reverse=True)[MAX_KEPT - 1 :]:
                (self.folder / old).unlink(missing_ok=True)
        except OSError as error:
            hint = "make room or name a folder in RAKIZA_MAIL_OUTBOX"
            raise MailUnavailableError(f"{self.folder} cannot be written: {error.strerror}", hint=hint) from error
        return Delivery(str(self.folder / name), len(letter.mail.recipients))

    def names(self) -> list[str]:
        """Return the files, in no order."""
        return [path.name for path in self.folder.glob("[!.]*.eml")]

    def newest(self, limit: int) -> list[Kept]:
        """Return the newest messages, the newest first."""
        return [kept for name in sorted(self.names(), reverse=True)[:limit] if (kept := self._read(name)) is not None]

    def _read(self, name: str) -> Kept | None:
        try:
            with (self.folder / name).open(encoding="utf-8", errors="replace") as file:
                head = HeaderParser(policy=default).parse(file)
        except OSError:  # taken away meanwhile
            return None
        return Kept(str(self.folder / name), getattr(head["Date"], "datetime", None), str(head["To"] or ""), str(head["Subject"] or ""))


def _write(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, after a power cut as well."""
    handle, scratch = tempfile.mkstemp(".part", ".", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        raise
