"""Handlers of jobs that run in processes of their own: such a process imports them by name."""

import ctypes
import logging
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from rakiza._kernel import SYSTEM_CLOCK, current, time_left
from rakiza.jobs import Cancel, Retry, RunningJob, Snooze
from rakiza.jobs._core import Claimed


def claimed(task: str, payload: object, **fields: Any) -> Claimed:
    """Return a job as a worker takes it."""
    given = {"id": 1, "tenant": "default", "queue": "default", "priority": 0, "run_at": SYSTEM_CLOCK.now()}
    given |= {"attempt": 1, "max_attempts": 1, "rescues": 0, "paced": False}
    text = msgspec.json.encode(payload).decode()
    return Claimed(**{**dict.fromkeys(Claimed._fields), **given, "task": task, "payload": text, **fields})


class Measure(msgspec.Struct, kw_only=True):
    """What a handler takes whole."""

    project: str = msgspec.field(name="المشروع")
    lengths: list[int]


class BusyError(Exception):
    """Know when to come back."""

    retry_after_seconds = 12.5


def add(measure: Measure) -> dict[str, object]:
    return {"المشروع": measure.project, "sum": sum(measure.lengths)}


def left() -> float | None:
    return time_left()


def who(job: RunningJob, **given: Any) -> dict[str, object]:
    at_hand = current()
    return {
        "pid": os.getpid(),
        "job": [job.id, job.task, job.queue, job.attempt, list(job.tags), job.tenant],
        "given": given,
        "tenant": at_hand.tenant if at_hand else None,
        "user": at_hand.principal.name if at_hand and at_hand.principal else None,
    }


def speak(job: RunningJob) -> None:
    print("يُطبع على المخرج القياسي", flush=True)
    os.write(1, b'{"done": true, "result": "forged"}\n')
    logging.getLogger("heavy").warning("تحذير")
    for percent in range(0, 101, 10):
        job.progress(percent, f"أنجزنا {percent}")
        job.progress(percent, f"أنجزنا {percent}")
        job.log(f"سطر {percent}", level="warning" if percent == 100 else "info")


def large(size: int) -> str:
    return "ك" * size


def chatter(job: RunningJob, lines: int) -> int:
    for number in range(lines):
        job.log(f"سطر {number}")
    return lines


def fail(how: str, code: int = 0) -> object:
    match how:
        case "raise":
            raise ValueError("قيمة خاطئة \0 \ud800")
        case "busy":
            raise BusyError("مشغول")
        case "retry":
            raise Retry("لاحقا", after=7)
        case "snooze":
            raise Snooze(3)
        case "cancel":
            raise Cancel("لا فائدة")
        case "exit":
            sys.exit(code)
        case "unfit":
            return object()
        case "_exit":
            os._exit(code)
        case "crash":
            ctypes.string_at(0)
        case "close":
            os.closerange(3, 64)
            time.sleep(600)
    return None


def endless(job: RunningJob, file: str, how: str = "python") -> None:
    grandchild = subprocess.Popen(["sleep", "600"])
    Path(file).write_text(f"{os.getpid()} {grandchild.pid}")
    job.progress(1, "بدأنا")
    while how == "python":
        pass
    re.match(r"(a+)+$", "a" * 80 + "b")  # holds the interpreter for longer than anybody waits


def haunt(job: RunningJob) -> int:
    def talk() -> None:
        while True:
            job.progress(50, "شبح")
            job.progress(51, "شبح")
            time.sleep(0.001)

    threading.Thread(target=talk, daemon=True).start()
    return os.getpid()


def stay(seconds: float) -> int:
    threading.Event().wait(seconds)
    return os.getpid()


async def coroutine() -> None:
    """Do nothing."""
