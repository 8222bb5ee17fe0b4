"""Mail: by SMTP, or as files where there is no server; in Arabic and English.

    from rakiza.mail import Mail, MailService

    mail = MailService(name="نوفل")  # no host is set: messages are files in var/outbox; in a platform: add_job("email:send", {…})
    delivery = mail.deliver(Mail(to="user@example.com", subject="مرحباً", body="محتوى الرسالة"))
    assert delivery.accepted == 1
    assert [kept.subject for kept in mail.outbox.newest(1)] == ["مرحباً"]

`email:send` is the job: it is tried again while the server is away, and cancelled when the server refuses the message for good.
"""

from ._backends import Delivery
from ._backends.outbox import Kept
from ._core import Mail
from .errors import MailAwayError, MailLoginError, MailRefusedError, MailUnavailableError
from .part import part
from .service import MailService
from .settings import MailSettings

__all__ = [
    "Delivery", "Kept", "Mail", "MailAwayError", "MailLoginError", "MailRefusedError", "MailService", "MailSettings", "MailUnavailableError", "part",
]
