"""Say in words what became of the projects in a day."""

from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from noufal.money import money_text

LONGEST_BYTES = 20_000
"""How long the list of one language may be: both must fit into the arguments of a job."""


class ProjectDay(msgspec.Struct, frozen=True):
    """Hold one project as it is, the total in halalas, and what was done with its bill since a moment."""

    code: str
    name: str
    name_en: str | None
    currency: str
    items: int
    total: int
    changed: int
    imports: int


def in_arabic(days: Sequence[ProjectDay]) -> str:
    """Return the list in Arabic, the most changed first."""
    return _listed(days, _arabic, "وغيرها: {more}")


def in_english(days: Sequence[ProjectDay]) -> str:
    """Return the list in English, the most changed first."""
    return _listed(days, _english, "and {more} more")


def _arabic(day: ProjectDay) -> str:
    figures = f"البنود: {day.items:,} · الإجمالي: {_money(day)} · بنود تغيرت: {day.changed:,} · ملفات استوردت: {day.imports:,}"
    return f"{day.name} ({day.code})\n{figures}\n"


def _english(day: ProjectDay) -> str:
    figures = f"Items: {day.items:,} · Total: {_money(day)} · Items changed: {day.changed:,} · Files imported: {day.imports:,}"
    return f"{day.name_en or day.name} ({day.code})\n{figures}\n"


def _money(day: ProjectDay) -> str:
    return f"{Decimal(money_text(day.total)):,} {day.currency}"


def _listed(days: Sequence[ProjectDay], say: Callable[[ProjectDay], str], rest: str) -> str:
    said: list[str] = []
    left = LONGEST_BYTES
    for day in sorted(days, key=lambda day: (-day.changed - day.imports, day.code)):
        text = say(day)
        left -= len(text.encode())
        if left < 0:
            return "\n".join([*said, rest.format(more=len(days) - len(said))])
        said.append(text)
    return "\n".join(said)
