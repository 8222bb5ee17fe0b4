"""Find the host adapter of an application by the application's own module, and load it by name: the one late binding of the house."""

import importlib
from types import ModuleType

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
