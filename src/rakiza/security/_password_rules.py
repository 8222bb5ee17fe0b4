"""The rule for new passwords without I/O: length, and how much is left when everything guessable is taken away (NIST SP 800-63B-4)."""

import unicodedata
from collections.abc import Iterable
from itertools import pairwise

import msgspec

MAX_LENGTH = 1024
ENOUGH = 8
CONTEXT_MIN = 4
_ROWS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "azertyuiop", "ضصثقفغعهخحجد", "شسيبلاتنمكط", "ئءؤرلاىةوزظ")
_STEPS = {pair for row in _ROWS for pair in pairwise(row)}
_STEPS |= {(b, a) for a, b in _STEPS}
_LEET = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i"})
_WORDS = """
password passwort motdepasse contrasena passphrase passcode passwd pass parola senha secret secrets private
administrator admin root superuser user username guest login logon signin welcome letmein iloveyou loveyou
changeme change default temporary temp test testing demo example sample master access server system computer internet
qwerty qwertz azerty asdf zxcv football baseball basketball soccer superman batman starwars pokemon dragon monkey shadow
sunshine princess whatever trustno freedom charlie michael jennifer jordan thomas hunter ranger killer summer winter
spring autumn flower cookie orange banana cheese chocolate samsung google facebook microsoft apple iphone android
company office manager employee engineer contractor construction project projects building invoice account
saudi arabia riyadh jeddah mecca makkah madina medina dammam khobar kuwait dubai qatar egypt cairo jordan bahrain oman
mohammed mohammad muhammad mohamed ahmed ahmad abdullah abdallah abdulrahman khalid khaled omar ali hassan hussein fatima
bismillah allah alhamdulillah inshallah mashallah habibi
محمد احمد أحمد عبدالله عبدالرحمن خالد عمر علي حسن حسين فاطمة نورة سارة سعود فهد سلطان
بسم الله الرحمن الرحيم الحمدلله ماشاءالله حبيبي صلى عليه وسلم السلام عليكم كلمة السر كلمةالسر المرور كلمةالمرور مرحبا اهلا
السعودية الرياض جدة مكة المدينة الدمام مصر القاهرة الكويت دبي قطر شركة مقاولات مشروع مدير مهندس
"""
_COMMON = frozenset(_WORDS.split())


class PasswordProblem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Say what is wrong with a new password, in both languages."""

    code: str
    message_en: str
    message_ar: str
    field: str = ""


def normal_password(text: str) -> str:
    """Return the one spelling of a password that is hashed (NFKC), so that every keyboard signs in."""
    return unicodedata.normalize("NFKC", text)


def password_problems(password: str, min_length: int, context: Iterable[str] = (), field: str = "new") -> list[PasswordProblem]:
    """Return what is wrong with a new password; `context` are words an attacker tries first (product, name, e-mail)."""
    typed, password = len(password), normal_password(password)
    if min(typed, len(password)) < min_length:  # one sign such as ﷺ becomes eighteen letters
        english = f"use at least {min_length} characters; a few words in a row are good"
        return [PasswordProblem("too_short", english, f"استخدم {min_length} حرفا على الأقل؛ بضع كلمات متتالية خيار جيد", field)]
    if len(password) > MAX_LENGTH:
        return [PasswordProblem("too_long", f"use at most {MAX_LENGTH} characters", f"استخدم {MAX_LENGTH} حرفا على الأكثر", field)]
    if strength(password, context) < ENOUGH:
        return [
            PasswordProblem(
                "too_guessable",
                "too easy to guess: common words, names, this product, repetitions and keyboard runs count for little; add words of your own",
                "سهلة التخمين: الكلمات الشائعة والأسماء والتكرار وتسلسل المفاتيح لا تكفي؛ أضف كلمات من عندك",
                field,
            )
        ]
    return []


def strength(password: str, context: Iterable[str] = ()) -> int:
    """Return how many characters are left when common words, context words, repetitions and runs are taken away."""
    words = _COMMON | {piece for text in context for piece in _pieces(text)}
    ordered = sorted(words, key=len, reverse=True)
    folded = normal_password(password).casefold()
    signs = len({sign for sign in folded if not sign.isalnum() and not sign.isspace()})
    return signs // 2 + min(_left(view, ordered) for view in {_letters(folded), _letters(folded.translate(_LEET))})


def _pieces(text: str) -> set[str]:
    folded = normal_password(text).casefold()
    parts = "".join(sign if sign.isalnum() else " " for sign in folded).split()
    return {part for part in [*parts, _letters(folded)] if len(part) >= CONTEXT_MIN}


def _letters(text: str) -> str:
    return "".join(sign for sign in text if sign.isalnum())


def _left(text: str, words: list[str]) -> int:
    text = _period(text)
    for word in words:
        text = text.replace(word, "\0")
    return sum(_substance(_period(piece)) for piece in text.split("\0"))


def _period(text: str) -> str:
    """Return the shortest text whose repetition, cut off, is `text`."""
    return next((text[:size] for size in range(1, len(text)) if text.startswith(text[size:])), text)


def _substance(text: str) -> int:
    steps = [_is_step(a, b) for a, b in pairwise(text)]
    inside = sum(1 for one, two in pairwise(steps) if one and two)
    return len(text) - inside


def _is_step(a: str, b: str) -> bool:
    return abs(ord(a) - ord(b)) <= 1 or (a, b) in _STEPS
