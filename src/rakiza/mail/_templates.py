"""The messages by name, in both languages, filled with values that stay text."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

FIELD = re.compile(r"\{(\w+)\}")
BARE, TAGGED = str.maketrans("", "", "\u2068\u2069"), str.maketrans({"\u2068": "<bdi>", "\u2069": "</bdi>"})
"""Isolates: in Arabic text a date or a name in Latin letters keeps its own order (UAX 9); written as tags in pages, left out of plain text."""
LINK = re.compile(r"https?://\S+", re.ASCII)


class Template(msgspec.Struct, frozen=True):
    """Hold one message in one language."""

    subject: str
    text: str

    @property
    def fields(self) -> list[str]:
        """Return the values it needs."""
        return FIELD.findall(self.subject + self.text)


TEMPLATES = msgspec.convert(tomllib.loads(Path(__file__).with_name("templates.toml").read_text(encoding="utf-8")), dict[str, dict[str, Template]])


def check(name: str, data: Mapping[str, object]) -> tuple[str, str] | None:
    """Return the path and what is wrong for a template that is not there, a value that is missing and a link that is none."""
    if name not in TEMPLATES:
        return "template", f"there is no {name!r}; there are {', '.join(TEMPLATES)}"
    missing = next((field for each in TEMPLATES[name].values() for field in each.fields if field not in data), None)
    if missing:
        return f"data.{missing}", f"is needed by the template {name!r}"
    return ("data.link", "is no http or https address") if "link" in data and not LINK.fullmatch(str(data["link"])) else None


def filled(name: str, language: str, data: Mapping[str, object]) -> Template:
    """Return a message with its values, in its text each between isolates; braces in a value stay braces."""
    values = {field: str(value).translate(BARE) for field, value in data.items()}
    subject = FIELD.sub(lambda found: values[found[1]], TEMPLATES[name][language].subject)
    text = FIELD.sub(lambda found: f"\u2068{values[found[1]]}\u2069", TEMPLATES[name][language].text)
    return Template(" ".join(subject.split()), text.strip())
