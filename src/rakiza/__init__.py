"""Give a Python business back end its production layer by one call.

    from flask import Flask
    from rakiza import integrate
    app = Flask(__name__)
    platform = integrate(app)
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .hub import Platform, build, integrate

__all__ = ["Platform", "__version__", "build", "integrate"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from . import hub

        return getattr(hub, name)
    raise AttributeError(f"module 'rakiza' has no attribute {name!r}")
