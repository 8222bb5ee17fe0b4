"""Settings with which no message could leave stop the start."""

from pathlib import Path

import pytest

from rakiza._kernel import SettingsError, SettingsReader
from rakiza.mail import MailSettings

SENDER = "نوفل <no-reply@example.com>"


def read(**given: object) -> MailSettings:
    return SettingsReader({"mail": given}, environ={}, dotenv={}).read(MailSettings)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"host": "smtp.example.com"}, "sender is needed"),
        ({"host": "smtp.example.com", "sender": "نوفل"}, "sender 'نوفل' is no address"),
        ({"sender": "a@example.com\r\nBcc: b@example.com"}, "sender holds a line break"),
        ({"host": "smtp.example.com", "sender": SENDER, "username": "u", "password": "p", "security": "none"}, "starttls or tls"),
        ({"host": "smtp.example.com", "sender": SENDER, "username": "u", "password": "كلمة السر"}, "ASCII"),
        ({"host": "smtp.example.com", "sender": SENDER, "ca_file": "nowhere.pem"}, "ca_file 'nowhere.pem' is no file"),
        ({"security": "ssl"}, "security"),
        ({"port": 70_000}, "PORT"),
        ({"timeout_seconds": 0}, "TIMEOUT_SECONDS"),
    ],
)
def test_what_cannot_work_is_said(given: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(**given)
    assert said.lower() in str(caught.value).lower()
    assert "كلمة السر" not in str(caught.value)


def test_the_password_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    settings = read(host="127.0.0.1", sender=SENDER, username="u", password="hunter2", security="none", ca_file=str(tmp_path / "ca.pem"))
    assert "hunter2" not in repr(settings)
    assert "username='u'" in repr(settings)
    assert settings.password == "hunter2"
