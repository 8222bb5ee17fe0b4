"""Each morning the administrators get a mail that says what became of the projects."""

import email
import email.policy
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import bills
import offices
from noufal.notifications import SUMMARY, ProjectDay
from noufal.notifications._core import LONGEST_BYTES, in_arabic, in_english


@pytest.fixture
def office(tmp_path: Path, erp_url: str) -> Iterator[offices.Office]:
    rooms = {"jobs": {"work": False}, "noufal": {"public_url": "https://erp.example.com"}}
    with offices.office(tmp_path / "home", erp_url, **rooms) as one:
        yield one


def letters(office: offices.Office) -> list[tuple[str, str, str]]:
    """Return to whom, under which subject and with which text the ERP wrote."""
    folder = office.erp.settings.home / "outbox"
    files = sorted(folder.glob("*.eml")) if folder.exists() else []
    read = [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]
    parts = [one.get_body(("plain",)) for one in read]
    return [(str(one["to"]), str(one["subject"]), part.get_content() if part else "") for one, part in zip(read, parts, strict=True)]


def test_administrators_get_one_mail_each_in_both_languages(office: offices.Office) -> None:
    manager = office.person()
    office.person("other@example.com", "admin", "نورة")
    office.person("member@example.com", "member", "عضو")
    gone = office.platform.security.create_user("gone@example.com", "سابق", "admin")
    office.platform.security.update_user(gone, disabled=True)
    manager.post("/api/projects", {"code": "VILLA-09", "name": "فيلا النرجس", "name_en": "Narjis villa"})
    manager.post("/api/projects", {"code": "EMPTY-01", "name": "مشروع بلا بنود"})
    lines = bills.lines(30)
    manager.bring_in("VILLA-09", bills.layout_b(lines))
    number = office.platform.jobs.add_job(SUMMARY).id
    office.platform.jobs.drain()
    assert office.platform.jobs.get_job(number).result == {"projects": 2, "mails": 2}
    found = letters(office)
    assert sorted(to for to, _, _ in found) == ["admin@noufal.example", "other@example.com"]
    for _, subject, text in found:
        assert "ملخص" in subject
        total = f"{bills.total(lines):,.2f} SAR"
        for words in ("فيلا النرجس (VILLA-09)", "Narjis villa (VILLA-09)", "مشروع بلا بنود (EMPTY-01)", "https://erp.example.com/projects"):
            assert words in text
        assert f"البنود: 30 · الإجمالي: {total} · بنود تغيرت: 30 · ملفات استوردت: 1" in text
        assert f"Items: 30 · Total: {total} · Items changed: 30 · Files imported: 1" in text
        assert text.index("VILLA-09") < text.index("EMPTY-01")


def test_without_projects_nobody_is_written_to(office: offices.Office) -> None:
    office.person()
    number = office.platform.jobs.add_job(SUMMARY).id
    office.platform.jobs.drain()
    assert office.platform.jobs.get_job(number).result == {"projects": 0, "mails": 0}
    assert letters(office) == []


def test_it_is_scheduled_for_five_in_the_morning_in_riyadh(office: offices.Office) -> None:
    view = office.platform.jobs.schedules.get(SUMMARY)
    assert (view.kind, view.timezone, view.task, view.enabled) == ("cron", "Asia/Riyadh", SUMMARY, True)
    assert view.next_at is not None
    assert view.next_at.astimezone(ZoneInfo("Asia/Riyadh")).strftime("%H:%M") == "05:00"


def test_what_was_done_earlier_is_no_change(office: offices.Office) -> None:
    manager = office.person()
    manager.post("/api/projects", {"code": "VILLA-09", "name": "فيلا النرجس"})
    manager.bring_in("VILLA-09", bills.layout_b(bills.lines(30)))
    now = office.platform.ctx.clock.now()
    assert [(day.items, day.changed, day.imports) for day in office.erp.summaries.days(now)] == [(30, 0, 0)]
    item = manager.items("VILLA-09")[0]
    manager.patch(f"/api/projects/VILLA-09/boq/items/{item['id']}", {"version": 1, "progress": "25"})
    assert [(day.items, day.changed, day.imports) for day in office.erp.summaries.days(now)] == [(30, 1, 0)]


def test_a_list_that_would_not_fit_into_a_mail_says_how_many_are_left_out() -> None:
    days = [ProjectDay(f"P-{n:03d}", f"مشروع {'طويل ' * 50}", None, "SAR", n, n * 100, n % 7, 0) for n in range(300)]
    for text, rest in ((in_arabic(days), "وغيرها: "), (in_english(days), "more")):
        assert len(text.encode()) <= LONGEST_BYTES + 100
        assert rest in text.splitlines()[-1]
    assert in_english(days).startswith(f"{days[6].name} (P-006)")
