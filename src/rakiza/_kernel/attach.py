"""Find the host adapter of an application by its own module, and the hub, and load them by name: the late bindings of the house."""

import importlib
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")

FRAMEWORKS = ("fastapi", "starlette", "litestar", "flask")


def framework_of(app: object) -> str:
    """Return `flask`, `fastapi`, `starlette` or `litestar` from the classes of `app`, else `asgi` for a callable; raise TypeError otherwise."""
    for kind in type(app).__mro__:
        name = kind.__module__.partition(".")[0]
        if name in FRAMEWORKS:
            return name
    if callable(app):
        return "asgi"
    raise TypeError(f"cannot integrate {type(app).__name__}: give a Flask, FastAPI, Starlette or Litestar application, or an ASGI callable")


def adapter(app: object) -> ModuleType:
    """Return the module of `rakiza.web` that knows the framework of `app`."""
    name = framework_of(app)
    return importlib.import_module("rakiza.web." + {"fastapi": "starlette"}.get(name, name))


def attach(app: object, room: str, kind: type[T]) -> T:
    """Give `app` the room named, with the platform's pass around it when it has none yet, and return the room's service."""
    found = importlib.import_module("rakiza.hub").attach(app, room)
    if not isinstance(found, kind):
        raise TypeError(f"the part {room!r} is a {type(found).__name__}, not a {kind.__name__}")
    return found
