"""W3C trace context, names of what is traced and metric labels, without I/O."""

import re
from functools import lru_cache
from typing import NamedTuple

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
MAX_TRACEPARENT_BYTES = 256
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
MAX_TEXT = 1_024
"""Characters of a name, a value or a statement that are looked at and shown."""
MAX_STATEMENTS_KNOWN = 1_024
_VALUES = re.compile(
    r"\$(\w{0,32})\$.*?(?:\$\1\$|$)|[eE]'(?:[^'\\]|\\.|'')*'?|'(?:[^']|'')*'|'.*|--[^\n]*|/\*.*?(?:\*/|$)|(?<![\w$:%])\d+(?:\.\d+)?(?!\w)", re.DOTALL
)
_LISTS = re.compile(r"\(\s*(\?|%s|%\(\w+\)s|:\w+|\$\d+)(?:\s*,\s*(?:\?|%s|%\(\w+\)s|:\w+|\$\d+))+\s*\)")
_SECRETS = re.compile(r"(?<=//)[^/?#]*@|[?#].*$", re.DOTALL)
_SPACES = re.compile(r"\s+")
_TABLE = re.compile(r"\b(?:from|into|update|join)\s+[\"`\[]?([\w.]+)", re.IGNORECASE)


class Parent(NamedTuple):
    """Hold what a `traceparent` header says."""

    trace_id: str
    span_id: str
    sampled: bool


def parse_traceparent(header: bytes) -> Parent | None:
    """Return the parent a header names, none for a malformed one; a later version may say more (W3C Trace Context, section 4.3)."""
    found = _TRACEPARENT.fullmatch(header) if len(header) <= MAX_TRACEPARENT_BYTES else None
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None) or trace == b"0" * 32 or span == b"0" * 16:
        return None
    return Parent(trace.decode(), span.decode(), bool(int(flags, 16) & 1))


def method_label(method: str) -> str:
    """Return the method, or `OTHER` for one that only a client's imagination bounds."""
    return method if method in METHODS else "OTHER"


def shown_statement(sql: str) -> tuple[str, str]:
    """Return a short name for a statement and its text as it may be shown: bounded, in one line, without values, lists of parameters as one."""
    return _shown_statement(sql if len(sql) <= MAX_TEXT else sql[: MAX_TEXT + 1])  # what is remembered must not be a bulk insert of megabytes


@lru_cache(MAX_STATEMENTS_KNOWN)
def _shown_statement(sql: str) -> tuple[str, str]:
    text = _SPACES.sub(" ", _VALUES.sub(lambda found: " " if found[0][0] in "-/" else "?", sql[:MAX_TEXT])).strip()
    text = _LISTS.sub(r"(\1, …)", text) + ("…" if len(sql) > MAX_TEXT else "")
    verb = text.partition(" ")[0].upper()[:20]
    table = _TABLE.search(text)
    return bounded(f"{verb} {table[1]}" if table else verb), bounded(text)


def shown_url(url: str) -> str:
    """Return an address without user, password, query and fragment: secrets stand there."""
    return bounded(_SECRETS.sub("", url))


def bounded(text: str) -> str:
    """Return text that can be stored: at most 1,024 characters, no half of a surrogate pair."""
    return text[:MAX_TEXT] if text.isascii() else text[:MAX_TEXT].encode("utf-8", "replace").decode()
