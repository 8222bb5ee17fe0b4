"""Take secrets and personal data out of what is kept, by the name of a field and by the shape of a text; no I/O."""

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice

REDACTED = "[redacted]"
MAX_CHARACTERS = 64 * 1024
MAX_VALUE_CHARACTERS = 8 * 1024
MAX_VALUES = 500  # in one line's details, all levels together
MAX_DEPTH = 8
KNOWN_TEXTS, KNOWN_CHARACTERS = 4_096, 256
_PARTS = ["password", "passwd", "passphrase", "secret", "token", "authorization", "cookie", "apikey", "accesskey", "privatekey", "credential"]
_PARTS += ["nationalid", "cardnumber", "creditcard", "sessionid", "csrf"]
_PARTS += ["كلمةالمرور", "كلمةالسر", "رقمالهوية", "الآيبان", "الرقمالسري", "رمزالتحقق", "رمزالدخول"]
_WORDS = frozenset({"pwd", "dsn", "passcode", "otp", "totp", "pin", "cvv", "cvc", "iban", "jwt", "ssn", "iqama", "آيبان"})
_STEMS = ["pass", "secret", "token", "authori", "cookie", "key", "otp", "iban", "pwd", "credential", "national", "session", "dsn", "csrf"]
_STEMS += ["pin", "cvv", "cvc", "jwt"]
_STEMS += ["كلمة", "هوية", "الرقم", "رمز"]
_NAMES = (
    r"password|passwd|passphrase|passcode|csrf|session[_-]?id|secret|token|authorization|(?:api|access|private)[ _-]?key|credentials?"
    r"|national[ _-]?id|كلمة[ _](?:المرور|السر)|رقم[ _]الهوية|الرقم[ _]السري|رمز[ _](?:التحقق|الدخول)"
    r"|(?<![^\W_])(?:t?otp|iban|pwd|dsn|pin|cvv|cvc|jwt)(?![^\W_])"
)
# Every repetition is bounded: a hostile text must not make the search quadratic.
_VALUE = (
    r"""[\w-]{0,20}\\?["']?\s{0,3}(?:=>|[=:](?!>))\s{0,3}(?!\[redacted\])"""
    r"""(?P<value>\[[^\]]{0,4096}\]?|\\"[^"]{0,8192}"?|b?"(?:[^"\\]|\\.){0,8192}"?|b?'(?:[^'\\]|\\.|''){0,8192}'?"""
    r"""|(?:(?:bearer|basic|token|digest) {1,3})?[^\s"',;&}\])]+)"""
)
_COOKIE = re.compile(r"""(cookie\\?["']?\s{0,3}[=:]) ?(?!\[redacted\])[^\r\n]{1,4096}""", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer|basic(?=\s{1,3}[\w.~+/-]{0,256}[\d=]))\s{1,3}[\w.~+/=-]{6,}", re.IGNORECASE)
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{4,}\.[\w-]{4,}(?:\.[\w-]*)?")
_URL_PASSWORD = re.compile(r"(://[^\s:/@]{0,64}:)(?!\[redacted\])[^\s\"'<>]{1,256}(?=@)|(://)(?!\[redacted\])[^\s:/@]{1,128}(?=@)")
_IBAN = re.compile(r"(?<![0-9A-Za-z])SA\d{2}(?:[ -]?[0-9A-Z]){20}(?![0-9A-Za-z])", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"\d(?:[ -]?\d){12}")
_CARD = re.compile(r"(?<![\w.-])[2-6](?:[ -]?\d){12,18}(?![\w-])")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")


def passes_luhn(digits: str) -> bool:
    """Tell whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def text_of(value: object) -> str:
    """Return anything as text, even when its own `str` raises."""
    try:
        return str(value)[: MAX_CHARACTERS + 1]
    except Exception:  # noqa: BLE001 - border: foreign `__str__`
        return f"<{type(value).__name__} whose text cannot be read>"


class Redactor:
    """Replace secrets in texts and in nested values; what comes out is bounded and fits JSON."""

    def __init__(self, *, on: bool = True, keys: tuple[str, ...] = (), patterns: tuple[str, ...] = (), emails: bool = False) -> None:
        self._on = on
        self._parts = [*_PARTS, *map(_joined, keys)]
        self._stems = [*_STEMS, *map(str.lower, keys)]
        self._pair = re.compile("(?:" + "|".join((_NAMES, *map(re.escape, keys))) + ")" + _VALUE, re.IGNORECASE)
        self._further = [*map(re.compile, patterns), *([_EMAIL] if emails else [])]
        self.is_secret = lru_cache(KNOWN_TEXTS)(self._is_secret)
        self._known = lru_cache(KNOWN_TEXTS)(self.text)

    def _is_secret(self, key: str) -> bool:
        joined = _joined(key)
        return self._on and (any(part in joined for part in self._parts) or not _WORDS.isdisjoint(re.split(r"[\W_]+", key.lower())))

    def text(self, text: str) -> str:
        """Return the text, bounded and without secrets; the cheap looks come first, for most lines hold none."""
        if len(text) > MAX_CHARACTERS:
            text = text[:MAX_CHARACTERS] + "…"
        if not self._on:
            return text
        if "earer" in text or "asic" in text or "EARER" in text:
            text = _BEARER.sub(rf"\1 {REDACTED}", text)
        if "eyJ" in text:
            text = _JWT.sub(REDACTED, text)
        if ":" in text or "=" in text:
            text = self._without_pairs(text)
        if _LONG_NUMBER.search(text):
            text = _CARD.sub(_card, _IBAN.sub(REDACTED, text))
        for pattern in self._further:
            text = pattern.sub(REDACTED, text)
        return text

    def known_text(self, text: str) -> str:
        """Do the same for texts that come again and again, such as paths."""
        return self._known(text) if len(text) <= KNOWN_CHARACTERS else self.text(text)

    def _without_pairs(self, text: str) -> str:
        if "://" in text and "@" in text:
            text = _URL_PASSWORD.sub(lambda found: f"{found[1] or found[2]}{REDACTED}", text)
        lowered = text.lower()
        for stem in self._stems:
            if stem in lowered:
                return self._pair.sub(_named, _COOKIE.sub(rf"\1 {REDACTED}", text))
        return text

    def value(self, value: object, depth: int = MAX_DEPTH, room: list[int] | None = None) -> object:
        """Return the value as JSON can hold it, without secrets; what is deeper or longer than the bounds becomes `…`."""
        room = [MAX_VALUES] if room is None else room
        room[0] -= 1
        if room[0] < 0:
            return "…"
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, float):
            return float(value)
        if isinstance(value, int):
            return int(value) if abs(value) < 2**63 else hex(value)[:MAX_VALUE_CHARACTERS]
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            if depth == 0 or room[0] <= 0:
                return "…"
            if isinstance(value, Mapping):
                return {
                    key: self._field(key, one, depth, room) for key, one in ((text_of(key)[:200], one) for key, one in islice(value.items(), room[0]))
                }
            return [self.value(one, depth - 1, room) for one in islice(value, room[0])]
        text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else text_of(value)
        return self.text(text if len(text) <= MAX_VALUE_CHARACTERS else text[:MAX_VALUE_CHARACTERS] + "…")

    def nested(self, value: object) -> object:
        """Return a value of any depth without secrets, nothing cut; for what is bounded already."""
        if isinstance(value, str):
            return self.text(value.encode("utf-8", "replace").decode())  # half a surrogate pair would be refused by JSON
        if isinstance(value, Mapping):
            return {key: REDACTED if self.is_secret(str(key)) else self.nested(one) for key, one in value.items()}
        return [self.nested(one) for one in value] if isinstance(value, list | tuple) else value

    def _field(self, key: str, value: object, depth: int, room: list[int]) -> object:
        return REDACTED if self.is_secret(key) and value is not None and not isinstance(value, bool) else self.value(value, depth - 1, room)


def _joined(key: str) -> str:
    return re.sub(r"[\W_]+", "", key.lower())


def _card(match: re.Match[str]) -> str:
    return REDACTED if passes_luhn(re.sub(r"\D", "", match[0])) else match[0]


def _named(match: re.Match[str]) -> str:
    return match[0][: match.start("value") - match.start()] + REDACTED
