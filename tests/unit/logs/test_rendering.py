"""Lines for files and terminals: colours, no trick, nothing that cannot be rendered."""

import io
import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza._kernel import RequestContext, use_context
from rakiza._kernel.redaction import Redactor
from rakiza.logs._core import ConsoleFormatter, Renderer, encoded, terminal_safe

EVIL = "a\x1b[2J\x9b31m\u202eكشف\u2066b\r\nINFO forged\x00\x7f\u2028"
RAW = "\x1b\x9b\u202e\u2066\r\n\x00\x7f\u2028"


def record(message: object, *arguments: object, error: BaseException | None = None, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("موقع.site", level, __file__, 7, message, arguments, error and (type(error), error, error.__traceback__), "f")
    made.__dict__.update(extra)
    return made


def rendered(one: logging.LogRecord) -> dict[str, Any]:
    line = Renderer(Redactor()).line(one)
    assert line.count(b"\n") == 1
    value = json.loads(line)
    assert isinstance(value, dict)
    return value


def test_a_terminal_and_a_plain_file_get_nothing_they_would_obey() -> None:
    for text in (Renderer(Redactor()).text(record(EVIL, note=EVIL)), Renderer(Redactor(), json=False).line(record(EVIL, note=EVIL)).decode()):
        assert text.removesuffix("\n").count("\n") == 0
        assert not set(text.removesuffix("\n")) & set(RAW)
        assert "كشف" in text
        assert r"\x1b[2J" in text
        assert r"\u202e" in text
    line = Renderer(Redactor()).line(record(EVIL))
    assert not set(line.decode().removesuffix("\n")) & set(RAW)
    assert json.loads(line)["message"] == EVIL


@given(st.text(st.characters()))
def test_any_text_is_safe_and_arabic_stays_itself(text: str) -> None:
    safe = terminal_safe(text)
    assert not set(safe) & set(RAW)
    safe.encode()
    assert json.loads(encoded({"x": text}))["x"] == text.encode("utf-8", "replace").decode()
    assert not set(encoded({"x": text}).decode()) & set(RAW)
    assert terminal_safe("صُبَّت ٤٢ م³ من الخرسانة") == "صُبَّت ٤٢ م³ من الخرسانة"


@pytest.mark.parametrize(("level", "colour"), [("DEBUG", 94), ("INFO", 32), ("WARNING", 33), ("ERROR", 31), ("CRITICAL", 35)])
def test_the_specified_colours(level: str, colour: int) -> None:
    formatter = ConsoleFormatter(Renderer(Redactor()), colour=True, pretty=True)
    text = formatter.format(record("صب", level=logging.getLevelNamesMapping()[level]))
    assert text.startswith(f"\x1b[{colour}m")
    assert text.endswith("\x1b[0m")


def test_pretty_names_the_request_and_shows_the_traceback_over_several_lines() -> None:
    formatter = ConsoleFormatter(Renderer(Redactor()), colour=False, pretty=True)
    try:
        raise ValueError("password=hunter2 في البند ٣")
    except ValueError as error:
        with use_context(RequestContext("rq-1", "tr-1", "sp-1")):
            text = formatter.format(record("توقف", error=error))
    head, *rest = text.split("\n")
    assert head[2] == ":"
    assert "request=rq-1 trace=tr-1" in head
    assert any("test_rendering.py" in line for line in rest)
    assert "hunter2" not in text
    assert "البند ٣" in text


def test_extra_fields_have_a_place_of_their_own() -> None:
    line = rendered(record("صب", concrete_m3=42, token="abc", bytes=b"x", when=RuntimeError("x")))
    assert line["extra"] == {"concrete_m3": 42, "token": "[redacted]", "bytes": "x", "when": "x"}
    assert "extra" not in rendered(record("صب"))


class HostileError(Exception):
    """An exception that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def test_exceptions_that_turn_in_a_circle_or_cannot_be_shown() -> None:
    one, two = HostileError(), ValueError("ثان")
    one.__cause__, two.__cause__ = two, one
    line = rendered(record("%s", HostileError(), error=one, note=HostileError()))
    assert line["exception"]["type"] == "HostileError"
    assert "cannot be read" in line["message"]
    assert "ValueError: ثان" in line["exception"]["traceback"]


def test_a_recursion_error_and_a_long_chain_are_bounded() -> None:
    def fall(depth: int) -> None:
        rise(depth + 1)

    def rise(depth: int) -> None:
        fall(depth + 1)

    with pytest.raises(RecursionError) as raised:
        fall(0)
    assert len(rendered(record("x", error=raised.value))["exception"]["traceback"]) <= 201
    error = ValueError("ا" * 1_000_000)
    for _ in range(3000):
        outer = ValueError("x")
        outer.__context__, error = error, outer
    assert len(Renderer(Redactor()).line(record("x", error=error))) < 400_000


@pytest.mark.parametrize("arguments", [("only one",), ({"a": 1},), (HostileError(), HostileError())])
def test_arguments_that_do_not_fit_their_template(arguments: tuple[object, ...]) -> None:
    assert rendered(record("%s %d %s", *arguments))["message"]


def test_a_megabyte_and_half_characters() -> None:
    assert len(rendered(record("ا" * 1_000_000))["message"]) < 66_000
    assert rendered(record("\udcff\ud800", name2="\udcff"))["message"] == "??"


def test_a_record_that_cannot_be_rendered_is_still_a_line() -> None:
    broken = record("x")
    broken.exc_info = (ValueError, 3, None)  # type: ignore[assignment]
    assert rendered(broken)["level"] == "INFO"

    class Odd(dict[str, object]):
        def items(self) -> Any:
            raise KeyError("odd")

    assert "KeyError" in rendered(record("x", odd=Odd(a=1)))["message"]


def test_the_console_of_a_process_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from rakiza.logs import Logs, LogSettings

    terminal = io.StringIO()
    monkeypatch.setattr("sys.stderr", terminal)
    settings = LogSettings(console_level="INFO", pretty=True)
    both = [Logs("one", tmp_path, settings), Logs("two", tmp_path, settings)]
    for logs in both:
        logs.start()
    logging.getLogger("site").info("مرة واحدة")
    for logs in both:
        logs.stop()
    assert terminal.getvalue().count("مرة واحدة") == 1
    assert all("مرة واحدة" in (tmp_path / f"{name}.log").read_text() for name in ("one", "two"))
