"""Type commands of `rakiza` as an operator does, in this process: its imports are paid already."""

import contextlib
import io
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from rakiza.cli import main


def typed(*words: str, env: Mapping[str, str], cwd: Path, code: int = 0) -> list[str]:
    """Run a command in a folder, with `env` added to the environment, and return the lines of both outputs; it must end with `code`."""
    said, ended = io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["rakiza", *words])
        for name, value in env.items():
            patch.setenv(name, value)
        try:
            main()
        except SystemExit as end:
            ended = int(end.code or 0)
    assert ended == code, said.getvalue()
    return said.getvalue().splitlines()
