"""Errors of mail."""

from rakiza.errors import ServiceUnavailableError, ValidationError


class MailUnavailableError(ServiceUnavailableError):
    """Say that a message cannot leave now; a later attempt may succeed (503)."""

    code, text_ar = "mail_unavailable", "تعذر إرسال البريد الآن"


class MailAwayError(MailUnavailableError):
    """Say that the mail server cannot be reached, or broke off: not for this message alone (503)."""


class MailLoginError(MailUnavailableError):
    """Say that the mail server does not accept who sends: only the settings mend it (503)."""

    code, text_ar = "mail_login", "رفض خادم البريد بيانات المرسل"


class MailRefusedError(ValidationError):
    """Say that a message was refused for good; no attempt will succeed (422)."""

    code, text_ar = "mail_refused", "رُفضت الرسالة نهائيا"
