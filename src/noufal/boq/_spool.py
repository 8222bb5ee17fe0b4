"""Keep uploaded files, readable by this program's user alone, until their imports have ended."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from rakiza._kernel import token
from rakiza.errors import ServiceUnavailableError

NAME_BITS = 192


class Spool:
    """Keep files under random names in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, source: BinaryIO) -> str:
        """Keep a copy, safe from a power cut, and return its name; raise ServiceUnavailableError when the disk does not take it."""
        name = token(NAME_BITS)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
                source.seek(0)
                shutil.copyfileobj(source, copy)
                copy.flush()
                os.fsync(copy.fileno())
        except OSError as error:
            self.drop(name)
            raise ServiceUnavailableError(
                f"the file cannot be kept for its import: {error.strerror}", message_ar="تعذر حفظ الملف على الخادم. أعد المحاولة بعد قليل."
            ) from error
        return name

    def path(self, name: str) -> Path:
        """Return where a file is kept."""
        return self.folder / name

    def drop(self, name: str) -> None:
        """Delete a file, if it is there."""
        self.path(name).unlink(missing_ok=True)

    def files(self) -> Iterator[tuple[str, float]]:
        """Yield the name of each file and when it came, in seconds since 1970."""
        if not self.folder.is_dir():
            return
        for entry in os.scandir(self.folder):
            try:
                yield entry.name, entry.stat().st_mtime
            except FileNotFoundError:  # its import has ended meanwhile
                continue
