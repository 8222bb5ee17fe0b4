"""Decide about errors without I/O: what belongs together, what is kept of it, which state follows."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any

HOURS, RECENT, USERS = 24, 30, 200
NORMAL_CHARS = 200
ITEM = ("id", "kind", "message", "culprit", "state", "count", "users", "first_seen", "last_seen", "release", "route", "trace_id", "request_id")
"""What a list shows of a group."""
_VARIABLE = re.compile(
    r"(?i)\"[^\"]*\"|(?<!\w)'[^']*'|«[^»]*»|“[^”]*”|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b0x[0-9a-f]+\b"
    r"|\b(?=[a-f]*\d)[0-9a-f]{8,}\b|\d+(?:[.,٫٬:/-]\d+)*"
)


def normalise(text: str) -> str:
    """Return the message with what changes from one time to the next (numbers, ids, quoted texts) replaced by a star."""
    return _VARIABLE.sub("*", text)[:NORMAL_CHARS]


def fingerprint(kind: str, functions: Iterable[str], message: str = "") -> str:
    """Return the id of the group: the same kind from the same functions; recursion counts once and line numbers do not count."""
    return blake2b("\n".join((kind, *dict.fromkeys(functions), normalise(message))).encode("utf-8", "replace"), digest_size=8).hexdigest()


def after(state: str, changed_at: str, seen_at: str) -> str:
    """Return the state of a group in which an error was seen again; what happened before it was resolved is no relapse."""
    return "regressed" if state == "resolved" and seen_at > changed_at else state


def group(seen: dict[str, Any], in_app: Callable[[str], bool], scrub: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the group of one error: by its kind and the application's own functions on the stack, or by its words when there is no stack."""
    at, user, kind, text = seen["at"], seen["user_id"], seen["kind"], scrub(seen["message"])
    own = [function for file, _, function in seen["frames"] if in_app(file)] or [function for _, _, function in seen["frames"]]
    key = fingerprint(kind, own) if own and seen["raised"] else fingerprint(kind, (), text)
    item = {"id": key, "kind": kind, "message": text, "culprit": own[-1] if own else "", "state": "open", "count": 1, "users": int(bool(user))}
    item |= {"first_seen": at, "last_seen": at, **{name: seen[name] for name in ITEM[-4:]}}
    recent = {"at": at, "message": text[:NORMAL_CHARS], **{name: seen[name] for name in ("request_id", "trace_id", "user_id")}}
    return {**item, "sample": seen, "recent": [recent], "hours": {str(hour_of(at)): 1}, "user_ids": [user] if user else [], "changed_at": ""}


def merged(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """Return the group after `new` was seen: counts add up, the bounds on users and occurrences hold, the latest sample stays."""
    if old is None:
        return new
    users = list(dict.fromkeys((*old["user_ids"], *new["user_ids"])))[:USERS]
    last, hours = max(old["last_seen"], new["last_seen"]), Counter(old["hours"]) + Counter(new["hours"])
    return {
        **(new if new["last_seen"] == last else old),
        "state": after(old["state"], old["changed_at"], new["last_seen"]),
        "changed_at": old["changed_at"],
        "count": old["count"] + new["count"],
        "users": len(users),
        "user_ids": users,
        "first_seen": min(old["first_seen"], new["first_seen"]),
        "last_seen": last,
        "recent": sorted(new["recent"] + old["recent"], key=lambda one: str(one["at"]), reverse=True)[:RECENT],
        "hours": {hour: count for hour, count in hours.items() if int(hour) > hour_of(last) - HOURS},
    }


def hour_of(at: str) -> int:
    """Return the hour since the epoch."""
    return int(datetime.fromisoformat(at).timestamp() // 3600)


def hourly(counts: Mapping[str, int], now: str) -> list[int]:
    """Return the counts of the last 24 hours, oldest first."""
    return [counts.get(str(hour), 0) for hour in range(hour_of(now) - HOURS + 1, hour_of(now) + 1)]

