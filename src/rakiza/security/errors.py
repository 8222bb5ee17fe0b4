"""Refusals of the security room, each with its stable code and both languages."""

from collections.abc import Sequence

from rakiza.errors import AppError, ConflictError, NotFoundError, RateLimitError, UnauthorizedError, ValidationError

from ._password_rules import PasswordProblem


class BadCredentialsError(UnauthorizedError):
    """Refuse a sign-in; never says whether the account exists."""

    code = "bad_credentials"
    text_ar = "البريد الإلكتروني أو كلمة المرور غير صحيحة"

    def __init__(self) -> None:
        super().__init__("the e-mail address or the password is wrong")


class LinkExpiredError(UnauthorizedError):
    """Refuse a one-time link that is used, too old or unknown."""

    code = "link_expired"
    text_ar = "انتهت صلاحية رابط الدخول أو استُخدم من قبل"

    def __init__(self) -> None:
        super().__init__("this sign-in link has been used or is too old", hint="ask for a new link")


class TooManyAttemptsError(RateLimitError):
    """Ask to wait before the next sign-in."""

    code = "too_many_attempts"
    text_ar = "محاولات دخول كثيرة، انتظر قليلا ثم حاول"


class WeakPasswordError(ValidationError):
    """Refuse a new password that is easy to guess."""

    code = "weak_password"
    text_ar = "كلمة المرور ضعيفة"

    def __init__(self, problems: Sequence[PasswordProblem]) -> None:
        super().__init__(problems[0].message_en, message_ar=problems[0].message_ar, errors=problems)


class WrongPasswordError(ValidationError):
    """Refuse a change of password whose current password is wrong."""

    code = "wrong_password"
    text_ar = "كلمة المرور الحالية غير صحيحة"

    def __init__(self) -> None:
        finding = {"field": "current", "code": self.code, "message_en": "the current password is wrong", "message_ar": self.text_ar}
        super().__init__("the current password is wrong", errors=[finding])


class EmailTakenError(ConflictError):
    """Refuse a second user with the same e-mail address."""

    code = "email_taken"
    text_ar = "البريد الإلكتروني مستخدم من قبل"

    def __init__(self, email: str) -> None:
        super().__init__(f"there is a user {email} already")


class NoUserError(NotFoundError):
    """Say that there is no such user."""

    code = "user_not_found"
    text_ar = "لا يوجد مستخدم بهذا الاسم"

    def __init__(self, who: str) -> None:
        super().__init__(f"there is no user {who}", hint="see the list of users: user list")


def wrong_field(field: str, message_en: str, message_ar: str) -> AppError:
    """Return the 422 that names one wrong field in both languages."""
    finding = {"field": field, "message_en": message_en, "message_ar": message_ar}
    return ValidationError(f"{field}: {message_en}", message_ar=message_ar, errors=[finding])
