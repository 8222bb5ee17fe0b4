"""Read settings once: argument > application config > environment > `.env` > default. The only place that looks at the environment."""

import difflib
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar, TypeVar

import msgspec

PREFIXES = ("RAKIZA_", "NOUFAL_")
SECRET_WORDS = ("headers", "webhook", "password", "secret", "token", "key", "dsn", "database_url", "redis_url")
_BOOLEANS = {"yes": True, "on": True, "no": False, "off": False}


class SettingsError(Exception):
    """Say which setting is wrong, its value and how to mend it."""


class RoomSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Be the settings of one room; `room` names it, `env` gives the specified names that differ from `RAKIZA_<ROOM>_<FIELD>`."""

    room: ClassVar[str] = ""
    env: ClassVar[dict[str, str]] = {}


S = TypeVar("S", bound=RoomSettings)


class Source(msgspec.Struct, frozen=True):
    """Tell where the value of one setting came from."""

    name: str
    field: str
    source: str
    shown: str


def env_name(kind: type[RoomSettings], field: str) -> str:
    """Return the environment name of a field."""
    prefix = f"RAKIZA_{kind.room.upper()}_" if kind.room != "noufal" else "NOUFAL_"
    return kind.env.get(field) or prefix + field.upper()


def read_dotenv(path: Path) -> dict[str, str]:
    """Return the assignments of a `.env` file; raise SettingsError naming the line that is none."""
    if not path.is_file():
        return {}
    found: dict[str, str] = {}
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = raw.strip().removeprefix("export ").strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip().isidentifier():
            raise SettingsError(f"{path} line {number}: expected NAME=value, found {raw!r}")
        found[name.strip()] = _unquote(value.strip())
    return found


def _unquote(value: str) -> str:
    if value[:1] in {'"', "'"}:
        end = value.rfind(value[0])
        if end > 0 and value[end + 1 :].lstrip()[:1] in {"", "#"}:
            return value[1:end]
    return value.partition(" #")[0].rstrip()


class SettingsReader:
    """Build frozen settings from every source and remember where each value came from."""

    def __init__(
        self,
        arguments: Mapping[str, Mapping[str, object]] | None = None,
        config: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
        dotenv: Mapping[str, str] | None = None,
    ) -> None:
        self._arguments = {room: dict(fields) for room, fields in (arguments or {}).items()}
        self._environ = environ
        environ = os.environ if environ is None else environ
        dotenv = read_dotenv(Path(".env")) if dotenv is None else dotenv
        self._layers: list[tuple[str, Mapping[str, object]]] = [("app.config", config or {}), ("environment", environ), (".env", dotenv)]
        self._known: set[str] = set()
        self._read: list[tuple[str, str, str, object]] = []

    def read(self, kind: type[S]) -> S:
        """Return the settings of one room; raise SettingsError naming the field, its source and its value."""
        given = self._arguments.get(kind.room, {})
        values: dict[str, object] = {}
        for field in msgspec.structs.fields(kind):
            name = env_name(kind, field.name)
            self._known.add(name)
            source, raw = self._find(field.name, name, given)
            if source is not None:
                values[field.name] = _convert(name, source, raw, field.type)
            shown = raw if source is not None else field.default
            self._read.append((name, f"{kind.room}.{field.name}", source or "default", shown))
        unknown = set(given) - {field.name for field in msgspec.structs.fields(kind)}
        if unknown:
            raise SettingsError(_unknown(f"settings of {kind.room}", unknown.pop(), [f.name for f in msgspec.structs.fields(kind)]))
        try:
            return kind(**values)
        except (TypeError, ValueError) as error:  # a missing field, or a rule of __post_init__
            raise SettingsError(f"settings of {kind.room}: {error}") from None

    def _find(self, field: str, name: str, given: Mapping[str, object]) -> tuple[str | None, object]:
        if field in given:
            return "argument", given[field]
        for source, layer in self._layers:
            value = layer.get(name)
            if value is not None and value != "":
                return source, value
        return None, None

    def check_unknown(self) -> None:
        """Raise SettingsError for a `RAKIZA_` or `NOUFAL_` name, or an argument group, that no room knows."""
        for source, layer in self._layers:
            for name in layer:
                if name.startswith(PREFIXES) and name not in self._known:
                    raise SettingsError(_unknown(f"{source}: setting", name, self._known))
        rooms = {field.partition(".")[0] for _, field, _, _ in self._read}
        for room in self._arguments:
            if room not in rooms:
                raise SettingsError(_unknown("settings for the part", room, rooms))

    def given(self) -> dict[str, object]:
        """Return what was given in code, as the fields of a `Recipe`: of the application's settings those that a room has read."""
        config = {name: value for name, value in self._layers[0][1].items() if name in self._known}
        return {"settings": self._arguments, "config": config, "environ": self._environ if self._environ is None else dict(self._environ)}

    def sources(self, *, masked: bool = True) -> tuple[Source, ...]:
        """Return every setting read so far with its source; secrets masked, but for what nobody else reads."""
        shown = _masked if masked else lambda _, value: repr(value)
        return tuple(Source(name, field, source, shown(field.partition(".")[2], value)) for name, field, source, value in self._read)


def _convert(name: str, source: str, raw: object, kind: object) -> object:
    if isinstance(raw, str):
        raw = _BOOLEANS.get(raw.strip().lower(), raw.strip()) if kind is bool else raw.strip()
        if str(kind).startswith(("tuple[", "list[")):
            raw = [part.strip() for part in str(raw).split(",") if part.strip()]
    if isinstance(raw, Path):
        raw = str(raw)
    try:
        value = msgspec.convert(raw, kind, strict=False, dec_hook=_decode)
        _check_finite(value)
        return value
    except ValueError as error:  # msgspec's own as well
        raise SettingsError(f"{name} = {_masked(name.lower(), raw)} ({source}): {error}") from None


def _check_finite(value: object) -> None:
    """Raise ValueError for nan and infinity anywhere in a value: no comparison with a limit would ever refuse them."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ():
        _check_finite(part)


def _decode(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value)).expanduser()
    raise NotImplementedError(kind)


def _masked(field: str, value: object) -> str:
    shown = value is None or value == "" or isinstance(value, int) or not any(word in field for word in SECRET_WORDS)
    return repr(value) if shown else "***"


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"{what} {name!r} is not known" + (f"; did you mean {close[0]!r}?" if close else "")
