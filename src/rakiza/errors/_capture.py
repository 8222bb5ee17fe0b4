"""Note what happened, cheaply and without the values of variables; source lines are looked up later, away from the request."""

import linecache
import logging
import sys
import sysconfig
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from traceback import walk_stack, walk_tb
from typing import Any

import msgspec

from rakiza._kernel import describe, request_context

OUTER_FRAMES, INNER_FRAMES, WALKED_FRAMES = 10, 40, 10_000
CAUSES, CRUMBS, RING = 10, 30, 1000
MESSAGE_CHARS, SHORT_CHARS = 1000, 200
CONTEXT_LINES = 3
SAMPLE_BYTES = 16 * 1024
_FOREIGN = (*{sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}, str(Path(__file__).parents[1]), "<")
_OF_REQUEST = ("request_id", "trace_id", "span_id", "method", "path", "route")

Crumb = tuple[object, float, str, str, str]


class Crumbs(logging.Handler):
    """Remember the latest log records of all requests in one ring."""

    def __init__(self) -> None:
        super().__init__()
        self._ring: deque[Crumb] = deque(maxlen=RING)

    def handle(self, record: logging.LogRecord) -> bool:
        """Keep one record, rendered at once, so that nothing it names is kept alive; takes no lock."""
        context = request_context.get()
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - border: observer hook
            text = "<a record that cannot be rendered>"
        key = context.request_id if context is not None else record.thread
        self._ring.append((key, record.created, record.levelname, record.name, text[:SHORT_CHARS]))
        return True

    def of(self, key: object) -> list[Crumb]:
        """Return the latest records of one request or thread."""
        return [one for one in self._ring.copy() if one[0] == key][-CRUMBS:]


def steps(error: BaseException | None) -> list[tuple[str, int, str]]:
    """Return file, line and function of the outermost and the innermost frames where an error was raised, or of the stack of who captures."""
    stack = reversed([*islice(walk_stack(sys._getframe(4)), INNER_FRAMES)]) if error is None else walk_tb(error.__traceback__)
    kept = [*islice(stack, OUTER_FRAMES), *deque(islice(stack, WALKED_FRAMES), INNER_FRAMES)]
    return [(f.f_code.co_filename, line, f"{f.f_globals.get('__name__')}:{f.f_code.co_qualname}") for f, line in kept]


def chain(error: BaseException) -> list[dict[str, str]]:
    """Return the error itself, then what caused it or what it gathers, each once."""
    found: dict[int, dict[str, str]] = {}
    todo = deque([error])
    while todo and len(found) <= CAUSES:
        one = todo.popleft()
        if id(one) not in found:
            found[id(one)] = {"kind": type(one).__name__, "message": describe(one)[:MESSAGE_CHARS]}
            inner = one.exceptions[:CAUSES] if isinstance(one, BaseExceptionGroup) else ()
            todo.extend(each for each in (one.__cause__, None if one.__suppress_context__ else one.__context__, *inner) if each is not None)
    return list(found.values())


def noted(error: BaseException | None, text: str, *, with_email: bool, **more: object) -> dict[str, Any]:
    """Return what is known at the moment of capture."""
    context = request_context.get()
    who = context.principal if context is not None else None
    first, *causes = chain(error) if error is not None else [{"kind": "Message", "message": text[:MESSAGE_CHARS]}]
    user = {"user_id": who.id if who else None, "email": who.email if who and with_email else ""}
    of_request = {name: (getattr(context, name, None) or "")[:MESSAGE_CHARS] for name in _OF_REQUEST}
    return {**first, **of_request, **user, "raised": error is not None, "frames": steps(error), "causes": causes, **more}


@lru_cache(maxsize=4096)
def in_app(file: str) -> bool:
    """Tell whether a file is the application's own."""
    return "site-packages" not in file and "dist-packages" not in file and not file.startswith(_FOREIGN)


def finished(seen: dict[str, Any], scrub: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the sample an operator sees: frames with their source lines, secrets hidden, bounded."""
    frames = [_frame(*step, last=step is seen["frames"][-1]) for step in seen["frames"]]
    found: dict[str, Any] = scrub(seen | {"frames": frames, "breadcrumbs": [_crumb(*one) for one in seen["breadcrumbs"]]})
    while len(msgspec.json.encode(found)) > SAMPLE_BYTES and (found["frames"] or found["breadcrumbs"]):
        longer = max(("frames", "breadcrumbs"), key=lambda name: len(found[name]))
        found[longer] = found[longer][len(found[longer]) // 2 + 1 :]
    return found


def _crumb(_: object, at: float, level: str, logger: str, message: str) -> dict[str, str]:
    return {"at": datetime.fromtimestamp(at, UTC).isoformat(), "level": level, "logger": logger, "message": message}


def _frame(file: str, line: int, function: str, *, last: bool) -> dict[str, Any]:
    own = in_app(file)
    first = max(1, line - CONTEXT_LINES)
    around = linecache.getlines(file)[first - 1 : line + CONTEXT_LINES] if own or last else []
    context = [{"line": first + index, "text": text.rstrip()[:SHORT_CHARS]} for index, text in enumerate(around)]
    return {"file": file, "line": line, "function": function, "in_app": own, "context": context}
