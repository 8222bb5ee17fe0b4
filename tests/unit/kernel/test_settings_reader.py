"""Settings: who wins, what is refused, what is shown."""

import math
import re
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza._kernel import RoomSettings, SettingsError, SettingsReader
from rakiza._kernel.settings import env_name, read_dotenv


class MailSettings(RoomSettings, frozen=True, kw_only=True):
    """Say how mail leaves."""

    room: ClassVar[str] = "mail"
    env: ClassVar[dict[str, str]] = {"server": "SMTP_SERVER"}

    server: str = "localhost"
    """The host that takes mail."""
    port: int = 25
    """Its port."""
    use_tls: bool = False
    password: str = ""
    signing_keys: tuple[str, ...] = ()
    folder: Path = Path("outbox")

    def __post_init__(self) -> None:
        """Refuse a port that is none."""
        if self.port < 1:
            raise ValueError(f"port must be at least 1, got {self.port}")


class RequiredSettings(RoomSettings, frozen=True, kw_only=True):
    """Have one field without default."""

    room: ClassVar[str] = "required"

    must: str


SOURCES = ("argument", "app.config", "environment", ".env")
GIVEN = {"argument": 1, "app.config": "2", "environment": "3", ".env": "4", "default": 25}


def reader(present: set[str]) -> SettingsReader:
    """Return a reader in which the sources named give the port."""
    layers = {source: {"RAKIZA_MAIL_PORT": GIVEN[source]} if source in present else {} for source in SOURCES[1:]}
    return SettingsReader(
        arguments={"mail": {"port": 1}} if "argument" in present else {},
        config=layers["app.config"],
        environ=layers["environment"],  # type: ignore[arg-type]
        dotenv=layers[".env"],  # type: ignore[arg-type]
    )


@given(st.sets(st.sampled_from(SOURCES)))
def test_the_first_source_that_says_something_wins_and_is_remembered(present: set[str]) -> None:
    read = reader(present)
    winner = next((source for source in SOURCES if source in present), "default")
    assert read.read(MailSettings).port == int(GIVEN[winner])
    assert {source.field: source.source for source in read.sources()}["mail.port"] == winner


def test_text_becomes_the_type_of_the_field() -> None:
    environ = {
        "SMTP_SERVER": " بريد.example ",
        "RAKIZA_MAIL_USE_TLS": "Yes",
        "RAKIZA_MAIL_SIGNING_KEYS": "a, b,,c ",
        "RAKIZA_MAIL_FOLDER": "~/out",
        "RAKIZA_MAIL_PORT": "",
    }
    settings = SettingsReader(environ=environ, dotenv={}).read(MailSettings)
    assert settings == MailSettings(server="بريد.example", use_tls=True, signing_keys=("a", "b", "c"), folder=Path.home() / "out")


def test_a_wrong_value_is_named_with_its_source() -> None:
    with pytest.raises(SettingsError, match=r"RAKIZA_MAIL_PORT = 'often' \(environment\)"):
        SettingsReader(environ={"RAKIZA_MAIL_PORT": "often"}, dotenv={}).read(MailSettings)
    with pytest.raises(SettingsError, match="settings of mail: port must be at least 1"):
        SettingsReader(environ={"RAKIZA_MAIL_PORT": "0"}, dotenv={}).read(MailSettings)
    with pytest.raises(SettingsError, match="settings of required"):
        SettingsReader(environ={}, dotenv={}).read(RequiredSettings)


def test_unknown_names_are_refused_with_the_nearest_known_one() -> None:
    read = SettingsReader(environ={"RAKIZA_MAIL_PROT": "1", "PATH": "/bin"}, dotenv={})
    read.read(MailSettings)
    with pytest.raises(SettingsError, match="environment: setting 'RAKIZA_MAIL_PROT' is not known; did you mean 'RAKIZA_MAIL_PORT'"):
        read.check_unknown()
    with pytest.raises(SettingsError, match="did you mean 'server'"):
        SettingsReader(arguments={"mail": {"sever": "x"}}, environ={}, dotenv={}).read(MailSettings)
    misspelt = SettingsReader(arguments={"mial": {}}, environ={}, dotenv={})
    misspelt.read(MailSettings)
    with pytest.raises(SettingsError, match="did you mean 'mail'"):
        misspelt.check_unknown()


def test_known_names_pass() -> None:
    read = SettingsReader(arguments={"mail": {"port": 1}}, environ={"SMTP_SERVER": "x"}, dotenv={"RAKIZA_MAIL_USE_TLS": "on"})
    read.read(MailSettings)
    read.check_unknown()


def test_secrets_are_masked_wherever_they_come_from() -> None:
    read = SettingsReader(arguments={"mail": {"signing_keys": ["k1", "k2"]}}, environ={"RAKIZA_MAIL_PASSWORD": "سر"}, dotenv={})
    assert read.read(MailSettings).signing_keys == ("k1", "k2")
    shown = {source.field: source.shown for source in read.sources()}
    assert (shown["mail.password"], shown["mail.signing_keys"], shown["mail.port"]) == ("***", "***", "25")
    with pytest.raises(SettingsError) as caught:
        SettingsReader(arguments={"mail": {"password": {"hunter2": 1}}}, environ={}, dotenv={}).read(MailSettings)
    assert "hunter2" not in str(caught.value)


def test_the_environment_names() -> None:
    assert (env_name(MailSettings, "server"), env_name(MailSettings, "port")) == ("SMTP_SERVER", "RAKIZA_MAIL_PORT")


def test_a_dotenv_file(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(
        '# التعليق\n\nexport A=1\nB = "two # not a comment"\nC=\'three\' # a comment\nD=four # a comment\nE=with#hash\nF=\nG="اسم"\nH=it\'s\n',
        encoding="utf-8",
    )
    assert read_dotenv(path) == {
        "A": "1",
        "B": "two # not a comment",
        "C": "three",
        "D": "four",
        "E": "with#hash",
        "F": "",
        "G": "اسم",
        "H": "it's",
    }
    assert read_dotenv(tmp_path / "none") == {}


@pytest.mark.parametrize("line", ["just words", "=x", "A B=1", "1A=2"])
def test_a_dotenv_line_that_is_no_assignment_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / ".env"
    path.write_text(f"A=1\n{line}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="line 2"):
        read_dotenv(path)


class LimitSettings(RoomSettings, frozen=True, kw_only=True):
    """Have numbers in every place."""

    room: ClassVar[str] = "limit"

    wait_seconds: Annotated[float, msgspec.Meta(ge=0.001, le=1)] = 0.5
    steps: tuple[float, ...] = ()
    thresholds: dict[str, float] = msgspec.field(default_factory=dict)


@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-inf", "Infinity", "1e999"])
@pytest.mark.parametrize("field", ["wait_seconds", "steps"])
def test_a_number_that_is_none_is_refused_by_name(field: str, text: str) -> None:
    name = f"RAKIZA_LIMIT_{field.upper()}"
    with pytest.raises(SettingsError, match=rf"^{name} = .*{re.escape(text)}.* \(environment\): "):
        SettingsReader({}, environ={name: text}, dotenv={}).read(LimitSettings)


@pytest.mark.parametrize("given", [{"wait_seconds": math.nan}, {"steps": [1.0, math.inf]}, {"thresholds": {"cpu": math.nan}}])
def test_a_number_that_is_none_is_refused_as_an_argument(given: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=rf"^RAKIZA_LIMIT_{next(iter(given)).upper()} = .* \(argument\): "):
        SettingsReader({"limit": given}, environ={}, dotenv={}).read(LimitSettings)
