"""What a message says and to whom; no I/O."""

import re
import unicodedata
from collections.abc import Collection, Iterator
from typing import Literal

import msgspec

from ._templates import check

MAX_RECIPIENTS = 100
"""What every server must take in one transaction (RFC 5321, 4.5.3.1.8)."""
MAX_LOCAL, MAX_DOMAIN, MAX_ADDRESS, MAX_NAME, MAX_LINE = 64, 255, 254, 200, 900
_ATOM = r"[^\s\"(),.:;<>@\[\\\]\x00-\x1f\x7f]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
LOCAL, DOMAIN = re.compile(rf"{_ATOM}(?:\.{_ATOM})*"), re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
NAMED = re.compile(r"(?P<name>[^<>]*)<(?P<spec>[^<>]*)>")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
IDENTITY = re.compile(r"<[A-Za-z0-9.]{1,64}@[A-Za-z0-9.-]{1,255}>")
UNSENDABLE = re.compile(r"[\x00\ud800-\udfff]")
Addresses = str | tuple[str, ...]
Value = str | int | float | bool


class Address(msgspec.Struct, frozen=True):
    """Name a mailbox: who, and where."""

    name: str
    local: str
    domain: str

    def spec(self, *, utf8: bool) -> str:
        """Return `local@domain`, the domain in ASCII (IDNA) unless the server takes UTF-8 (RFC 6531)."""
        return f"{self.local}@{self.domain if utf8 else self.domain.encode('idna').decode()}"


def address(text: str) -> Address:
    """Return what `user@host` or `Name <user@host>` names; raise ValueError saying what is wrong (RFC 5321, lengths in octets)."""
    if CONTROL.search(text):
        raise ValueError("holds a line break or another control character")
    named = NAMED.fullmatch(text.strip())
    name, spec = (named["name"].strip().strip('"'), named["spec"]) if named else ("", text.strip())
    local, at, domain = spec.rpartition("@")
    if not at or not LOCAL.fullmatch(local) or not _is_domain(domain):
        raise ValueError(f"{text[:MAX_ADDRESS]!r} is no address; write one address, as user@example.com or Name <user@example.com>")
    if len(local.encode()) > MAX_LOCAL or len(spec.encode()) > MAX_ADDRESS or len(name) > MAX_NAME:
        raise ValueError(f"{text[:MAX_ADDRESS]!r} is too long: {MAX_LOCAL} bytes before the @, {MAX_ADDRESS} together, {MAX_NAME} letters of a name")
    return Address(name, local, domain)


def _is_domain(domain: str) -> bool:
    try:
        return len(domain) <= MAX_DOMAIN and DOMAIN.fullmatch(domain.encode("idna").decode()) is not None
    except UnicodeError:
        return False


class Mail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Be the arguments of `email:send`; raise ValueError with the path of the one that is wrong, as msgspec writes it."""

    to: Addresses
    subject: str = ""
    body: str = ""
    html: str | None = None
    """A page or a piece of one; without it Arabic text is sent right to left as well."""
    cc: Addresses = ()
    bcc: Addresses = ()
    reply_to: str | None = None
    template: str | None = None
    """Subject and body by name, filled with `data`."""
    data: dict[str, Value] = {}
    language: Literal["ar", "en"] | None = None
    """When none: a text has the language of its first letter, a template both languages."""
    message_id: str | None = None
    """The identity of an earlier message this one goes on delivering; made from the job's when none."""
    only: tuple[str, ...] = ()
    """Deliver to these of the addresses alone; the others have it."""

    def __post_init__(self) -> None:
        """Refuse what no server would take and what would forge a header."""
        for place, text in self._addresses():
            try:
                address(text)
            except ValueError as error:
                raise _wrong(place, str(error)) from None
        if not 1 <= len(self.recipients) <= MAX_RECIPIENTS:
            raise _wrong("to", f"a message has 1 to {MAX_RECIPIENTS} recipients, this one {len(self.recipients)}")
        if CONTROL.search(self.subject) or len(self.subject) > MAX_LINE:
            raise _wrong("subject", f"holds a line break or another control character, or more than {MAX_LINE} characters")
        if self.message_id is not None and not IDENTITY.fullmatch(self.message_id):
            raise _wrong("message_id", "is no identity such as <1f3a@example.com>")
        passages = {"body": self.body, "html": self.html, **{f"data.{name}": value for name, value in self.data.items()}}
        if unsendable := next((place for place, passage in passages.items() if UNSENDABLE.search(str(passage))), None):
            raise _wrong(unsendable, "holds a character no mail can carry")
        if wrong := self._content():
            raise _wrong(*wrong)

    def _content(self) -> tuple[str, str] | None:
        if self.template is None:
            return next(((name, "is needed, or a template that gives it") for name in ("subject", "body") if not getattr(self, name).strip()), None)
        if self.subject or self.body or self.html:
            return "template", "gives subject and body; leave them out"
        return check(self.template, self.data)

    @property
    def recipients(self) -> dict[str, Address]:
        """Return everybody the message goes to, each once, by address."""
        named = map(address, self.only or (*many(self.to), *many(self.cc), *many(self.bcc)))
        return {one.spec(utf8=True): one for one in named}

    def _addresses(self) -> Iterator[tuple[str, str]]:
        for field in ("to", "cc", "bcc", "reply_to", "only"):
            given = getattr(self, field)
            yield from [(field, given)] if isinstance(given, str) else ((f"{field}[{at}]", text) for at, text in enumerate(given or ()))


def many(addresses: Collection[str]) -> Collection[str]:
    """Return a list of what may be a single one."""
    return (addresses,) if isinstance(addresses, str) else addresses


def language_of(text: str) -> str:
    """Return `ar` for text whose first letter is Arabic, else `en`."""
    return "ar" if next((side for side in map(unicodedata.bidirectional, text) if side in {"L", "R", "AL"}), "L") == "AL" else "en"


def _wrong(place: str, reason: str) -> ValueError:
    return ValueError(f"{reason} - at `$.{place}`")
