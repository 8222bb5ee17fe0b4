"""Write the reference pages from the code: `python docs/generate.py`."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import msgspec
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.routes import BaseRoute

import noufal
import rakiza
from noufal.app import create_app, create_platform
from noufal.membership import PROJECT_PERMISSIONS, ROLES
from rakiza import Platform
from rakiza._kernel import PUBLIC, SIGNED_IN, RoomSettings, Route
from rakiza._kernel.settings import env_name

REFERENCE = Path(__file__).parent / "reference"
OPENAPI = "/api/openapi"
NOUFAL_FIXES = (
    "noufal sets these itself, whatever the environment says: `hub.name` (`noufal`), `hub.home` (`NOUFAL_HOME`),\n"
    "`web.protect_application` (`true`) and `web.max_body_bytes` (a little over `NOUFAL_MAX_IMPORT_BYTES`)."
)
FRAMEWORK_METHODS = {"OPTIONS", "HEAD"}


@cache
def field_docs(kind: type[RoomSettings]) -> dict[str, str]:
    """Return the docstring written below each field of a settings class."""
    body = ast.parse(inspect.getsource(kind).lstrip()).body[0]
    found: dict[str, str] = {}
    previous: str | None = None
    for node in body.body if isinstance(body, ast.ClassDef) else []:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and previous:
            found[previous] = inspect.cleandoc(str(node.value.value))
        previous = node.target.id if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else None
    return found


def settings_classes() -> list[type[RoomSettings]]:
    """Return the settings class of every room, hub first, noufal last."""
    for package in (rakiza, noufal):
        for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            door = importlib.import_module(found.name)
            if found.ispkg and Path(next(iter(door.__path__)), "settings.py").is_file():
                importlib.import_module(found.name + ".settings")
    kinds = [kind for kind in RoomSettings.__subclasses__() if kind.__module__.startswith(("rakiza.", "noufal."))]
    return sorted(kinds, key=lambda kind: ({"hub": 0, "web": 1, "noufal": 9}.get(kind.room, 5), kind.room))


def undocumented() -> list[str]:
    """Return the settings fields that have no docstring."""
    return [f"{kind.__name__}.{name}" for kind in settings_classes() for name in kind.__struct_fields__ if not field_docs(kind).get(name)]


def settings_page() -> str:
    """Return the page of all settings."""
    lines = [
        "# Settings",
        "",
        "Generated from the code by `docs/generate.py`.",
        "",
        'A setting is taken from the first of these that has it: argument (`integrate(app, logs={"level": "DEBUG"})`), `app.config` under Flask,',
        "environment, `.env` in the working folder, default. How to give them: [../how_to/settings.md](../how_to/settings.md).",
    ]
    for kind in settings_classes():
        lines += [
            "",
            f"## {kind.room}",
            "",
            (kind.__doc__ or "").strip().splitlines()[0],
            "",
            "| name | field | type | default | meaning |",
            "|---|---|---|---|---|",
        ]
        lines += [_settings_row(kind, field) for field in msgspec.structs.fields(kind)]
        lines += ["", NOUFAL_FIXES] if kind.room == "noufal" else []
    return "\n".join(lines) + "\n"


def _settings_row(kind: type[RoomSettings], field: msgspec.structs.FieldInfo) -> str:
    default = "required" if field.default is msgspec.NODEFAULT else _shown(field.default)
    doc = _cell(" ".join(field_docs(kind).get(field.name, "").split()))
    return f"| `{env_name(kind, field.name)}` | `{field.name}` | {_cell(_type_name(msgspec.inspect.type_info(field.type)))} | {default} | {doc} |"


def _shown(value: object) -> str:
    if value in {None, ""} or value == ():
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type_name(kind: msgspec.inspect.Type) -> str:
    match kind:
        case msgspec.inspect.LiteralType(values):
            return "one of " + ", ".join(f"`{value}`" for value in values)
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            name = "integer" if isinstance(kind, msgspec.inspect.IntType) else "number"
            return name + "".join(
                f", {sign} {bound:g}" for sign, bound in (("≥", kind.ge), (">", kind.gt), ("≤", kind.le), ("<", kind.lt)) if bound is not None
            )
        case msgspec.inspect.BoolType():
            return "`true` or `false`"
        case msgspec.inspect.VarTupleType():
            return "list, separated by commas"
        case msgspec.inspect.UnionType(types):
            return _type_name(next(one for one in types if not isinstance(one, msgspec.inspect.NoneType)))
        case msgspec.inspect.StrType():
            return "text"
    return "path"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def http_page() -> str:
    """Return the page of all routes and the permission each asks for."""
    with tempfile.TemporaryDirectory() as home:
        platform = create_platform({"noufal": {"home": home}, "logs": {"console": False}}, environ={})
        app = create_app(platform)
        operator = [route for route in platform.routes() if route.summary]
        pages = [route for route in platform.routes() if not route.summary]
        own = sorted(
            {(route.path, *_of_handler(handler, method)) for route, handler, method in _handlers(app.routes) if not route.path.startswith(OPENAPI)}
        )
        roles = _roles(platform)
        platform.store.close()
    lines = [
        "# HTTP",
        "",
        "Generated from the code by `docs/generate.py`.",
        "",
        f"Every route asks for one permission. `{PUBLIC}` is open to all; `{SIGNED_IN}` needs a caller who is known; the others come with a role.",
        "A caller is known by the session cookie; on the platform's routes also by the operator's key (`OPS_API_KEY`) in `X-API-Key` or",
        "`Authorization: Bearer`.",
        "",
        "## Platform",
        "",
        "Every application with `integrate` has these, and once more under `/_rakiza`. A path that the application already has stays its own.",
        "",
        *_table(("method", "path", "permission", "what it does"), ((r.method, f"`{r.path}`", f"`{r.permission}`", r.summary) for r in operator)),
        "",
        "## noufal",
        "",
        "The bodies are described by `GET /api/openapi.json` of a running server. Money, quantities, rates and percentages are decimal texts.",
        "",
        *_table(
            ("method", "path", "permission", "what it does"), ((m, f"`{path}`", f"`{permission}`", summary) for path, m, permission, summary in own)
        ),
        "",
        "The browser interface stands at " + ", ".join(f"`{route.path}`" for route in _distinct(pages)) + ".",
        "",
        "## Roles",
        "",
        "| role | permissions everywhere |",
        "|---|---|",
        *(f"| `{name}` | {', '.join(f'`{one}`' for one in sorted(given)) or 'none'} |" for name, given in roles.items()),
        "",
        "A member of a project has one role there. Whoever has `projects.all` is manager of every project. To others a project does not exist (404).",
        "",
        "| permission in a project | " + " | ".join(f"`{name}`" for name in ROLES) + " |",
        "|---|" + "---|" * len(ROLES),
        *(f"| `{one}` | " + " | ".join("yes" if one in given else "" for given in ROLES.values()) + " |" for one in sorted(PROJECT_PERMISSIONS)),
        "",
        "Without `boq.prices` unit prices, totals and sums are `null`.",
    ]
    return "\n".join(lines) + "\n"


def _roles(platform: Platform) -> dict[str, Iterable[str]]:
    roles = platform.security.roles
    return {name: roles.permissions(name) for name in roles.names()}


def _distinct(routes: Iterable[Route]) -> list[Route]:
    return list({route.path: route for route in routes}.values())


def _handlers(routes: Iterable[BaseRoute]) -> Iterator[tuple[BaseRoute, HTTPRouteHandler, str]]:
    for route in routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler):
                for method in sorted({str(one) for one in handler.http_methods} - FRAMEWORK_METHODS):
                    yield route, handler, method


def _of_handler(handler: HTTPRouteHandler, method: str) -> tuple[str, str, str]:
    return method, str(handler.opt.get("permission", "")), handler.summary or ""


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows)]


PAGES = {"settings.md": settings_page, "http.md": http_page}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
