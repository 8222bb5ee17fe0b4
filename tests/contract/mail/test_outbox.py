"""Messages as files where there is no mail server."""

import stat
from datetime import UTC, datetime, timedelta
from email import message_from_string
from email.policy import default
from pathlib import Path

import pytest

from rakiza.mail import Mail, MailUnavailableError
from rakiza.mail._backends import outbox as room
from rakiza.mail._backends.outbox import Outbox
from rakiza.mail._core import address
from rakiza.mail._message import Letter

START = datetime(2026, 11, 27, 9, tzinfo=UTC)


def letter(number: int = 1, **fields: object) -> Letter:
    given = {"to": "سارة <sara@example.com>", "subject": f"رسالة {number}", "body": "محتوى الرسالة", **fields}
    return Letter(Mail(**given), address("نوفل <no-reply@localhost>"), f"<id{number}@localhost>", START + timedelta(minutes=number))  # type: ignore[arg-type]


def test_a_message_is_one_file_that_reads_back_the_same(tmp_path: Path) -> None:
    delivery = Outbox(tmp_path / "new" / "outbox").deliver(letter(bcc="blind@example.com", to="سارة <سارة@مثال.السعودية>"))
    [path] = (tmp_path / "new" / "outbox").iterdir()
    assert (delivery.where, delivery.accepted) == (str(path), 2)
    assert path.name == "20261127T090100000000-id1.eml"
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    raw = path.read_bytes()
    assert "محتوى الرسالة\r\n".encode() in raw, "a person can read it without a mail program"
    message = message_from_string(raw.decode(), policy=default)
    assert (message["subject"], message["bcc"]) == ("رسالة 1", "blind@example.com")
    assert message["to"].addresses[0].addr_spec == "سارة@مثال.السعودية"
    assert [kept.to for kept in Outbox(path.parent).newest(1)] == ["سارة <سارة@مثال.السعودية>"]


def test_the_newest_is_listed_first(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    assert outbox.newest(10) == []
    for number in (2, 1, 3):
        outbox.deliver(letter(number))
    assert [kept.subject for kept in outbox.newest(10)] == ["رسالة 3", "رسالة 2", "رسالة 1"]
    assert [(kept.to, kept.at) for kept in outbox.newest(1)] == [("سارة <sara@example.com>", START + timedelta(minutes=3))]


def test_a_repeated_attempt_replaces_its_file(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    first = outbox.deliver(letter(1))
    again = Letter(letter(1).mail, letter(1).sender, letter(1).message_id, START + timedelta(hours=1))
    assert outbox.deliver(again) == first
    assert len(outbox.names()) == 1


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_KEPT", 2)
    outbox = Outbox(tmp_path)
    for number in (1, 2, 3, 4):
        outbox.deliver(letter(number))
    assert [kept.subject for kept in outbox.newest(10)] == ["رسالة 4", "رسالة 3"]


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MailUnavailableError, match=r"file cannot be written: ") as caught:
        Outbox(tmp_path / "file").deliver(letter())
    assert "RAKIZA_MAIL_OUTBOX" in (caught.value.hint or "")
