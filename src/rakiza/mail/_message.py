"""The bytes of a message (RFC 5322, MIME), in 7 bits unless told otherwise."""

import html
import re
from collections.abc import Iterable
from datetime import datetime
from email.charset import Charset
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import format_datetime

import msgspec

from ._core import CONTROL, MAX_LINE, Address, Mail, address, language_of, many
from ._templates import BARE, TAGGED, filled

LINES = compat32.clone(linesep="\r\n")
SEVEN_BITS, EIGHT_BITS = Charset("utf-8"), Charset("utf-8")
EIGHT_BITS.body_encoding = None  # type: ignore[assignment] # the documented value for text as it is
LINK = re.compile(r"https?://(?:(?!&(?:quot|#x27|lt|gt);)[^\s<>\u2068\u2069])*[^\s<>.,;:!?،؛)\u2068\u2069]")
WHOLE = re.compile(r"\s*<(?:!doctype|html)\b", re.IGNORECASE)
BREAK = re.compile(r"\r\n?|\n")
PAGE = '<!doctype html><html lang="{0}" dir="{1}"><head><meta charset="utf-8"></head><body style="font:16px/1.6 sans-serif">{2}</body></html>'
SIDES = {"ar": "rtl", "en": "ltr"}


class Letter(msgspec.Struct, frozen=True):
    """Hold a message with all that is said outside it: who sends it, when, and its identity."""

    mail: Mail
    sender: Address
    message_id: str
    date: datetime

    def render(self, *, utf8: bool = False, readable: bool = False) -> bytes:
        """Return the message: `utf8` for servers that take addresses in UTF-8, `readable` with 8-bit text and all recipients, for files."""
        mail, (subject, text, page) = self.mail, content(self.mail)
        lists = {"To": many(mail.to), "Cc": many(mail.cc), "Reply-To": many(mail.reply_to or ()), "Bcc": many(mail.bcc) if readable else ()}
        addresses = {"From": (self.sender,), **{name: map(address, texts) for name, texts in lists.items()}}
        headers = {name: _list(each, utf8=utf8 or readable) for name, each in addresses.items()}
        headers |= {"Subject": _words(subject), "Date": format_datetime(self.date), "Message-ID": self.message_id}
        headers["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notes in reply
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
        return head.encode() + _body(text, page, EIGHT_BITS if readable else SEVEN_BITS).as_bytes(policy=LINES)


def content(mail: Mail) -> tuple[str, str, str | None]:
    """Return subject, text and page; English text has no page of its own."""
    language = mail.language or language_of(mail.body)
    if mail.template:
        each = {one: filled(mail.template, one, mail.data) for one in ((mail.language,) if mail.language else SIDES)}
        passages = {name: one.text for name, one in each.items()}
        sides = "".join(f'<div lang="{name}" dir="{SIDES[name]}">{_paragraphs(one).translate(TAGGED)}</div>' for name, one in passages.items())
        subject = CONTROL.sub(" ", " | ".join(one.subject for one in each.values()))[:MAX_LINE]
        return subject, "\n\n".join(passages.values()).translate(BARE), _page(next(iter(each)), sides)
    page = mail.html or (_paragraphs(mail.body) if language == "ar" else None)
    return mail.subject, mail.body, page if page is None or WHOLE.match(page) else _page(language, page)


def _page(language: str, body: str) -> str:
    return PAGE.format(language, SIDES[language], body)


def _paragraphs(text: str) -> str:
    """Return text as paragraphs; markup in it is shown, addresses of the web are links."""
    blocks = re.split(r"\n[ \t]*\n", html.escape(BREAK.sub("\n", text.strip())))
    return "".join("<p>" + LINK.sub(r'<a href="\g<0>">\g<0></a>', block).replace("\n", "<br>") + "</p>" for block in blocks)


def _body(text: str, page: str | None, charset: Charset) -> MIMEText | MIMEMultipart:
    kinds = {"plain": text, "html": page}
    parts = [MIMEText(BREAK.sub("\r\n", each), kind, charset) for kind, each in kinds.items() if each is not None]  # type: ignore[arg-type]
    return parts[0] if len(parts) == 1 else MIMEMultipart("alternative", _subparts=parts)


def _list(addresses: Iterable[Address], *, utf8: bool) -> str:
    """Return the value of an address header; one whose local part needs UTF-8 is left out where there is none."""
    kept = [one for one in addresses if utf8 or one.local.isascii()]
    return ",\r\n ".join(f"{_phrase(one.name)} <{one.spec(utf8=utf8)}>" if one.name else one.spec(utf8=utf8) for one in kept)


def _phrase(name: str) -> str:
    """Return a name for a header: quoted in ASCII, else as encoded words."""
    return _words(name) if not name.isascii() or "=?" in name else '"' + re.sub(r'([\\"])', r"\\\1", name) + '"'


def _words(text: str) -> str:
    """Return text for a header, folded, as encoded words (RFC 2047) where it is not plain ASCII."""
    plain = text.isascii() and "=?" not in text
    return Header(text, "us-ascii" if plain else "utf-8", header_name="Reply-To").encode(linesep="\r\n")
