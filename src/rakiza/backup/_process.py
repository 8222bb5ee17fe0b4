"""A process of its own for work that must not end with the one that was asked for it."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

import psutil

from rakiza._kernel import AS_GIVEN, Recipe

from .errors import BackupRefusedError

OUTPUT = ".output"
"""A file of the folder: what the newest such process said."""


class Worker:
    """Start `rakiza` with a command, for the platform a recipe describes; it waits until it is told what that is.

    Raises BackupRefusedError for a recipe that cannot be handed over, OSError when no process can be started.
    """

    def __init__(self, folder: Path, recipe: Recipe, command: Sequence[str]) -> None:
        try:
            self._recipe = recipe.written()
        except TypeError as error:
            raise BackupRefusedError(f"this platform cannot be built in another process: {error}", hint="use the command line") from error
        with os.fdopen(os.open(folder / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as output:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "rakiza", AS_GIVEN, *command],
                stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.pid = self._process.pid

    def go(self) -> None:
        """Let it work; one that has ended already has said why in its output."""
        with contextlib.suppress(OSError), cast("IO[bytes]", self._process.stdin) as pipe:
            pipe.write(self._recipe)
        threading.Thread(target=self._process.wait, name="rakiza-backup-wait", daemon=True).start()


def last_words(folder: Path) -> str:
    """Return the last line of what the newest process said."""
    with contextlib.suppress(OSError):
        lines = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:500]
    return ""


def born(pid: int) -> float | None:
    """Return when a process that lives began, by its own machine's clock, none when there is none or it has ended."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    return None
