"""The one pass around an application, as ASGI and as WSGI over the same decisions.

    from rakiza import integrate
    platform = integrate(app)      # the pass now stands around `app`
"""

from ._core import PassCore, with_prefix
from .settings import WebSettings
from .static import static_routes

__all__ = ["PassCore", "WebSettings", "static_routes", "with_prefix"]
