"""The one pass around an application, as ASGI and as WSGI over the same decisions.

    from flask import Flask
    from rakiza import integrate
    app = Flask(__name__)
    platform = integrate(app)      # the pass now stands around `app`
    assert app.test_client().get("/livez").headers["x-request-id"]
    platform.shutdown()
"""

from ._core import PassCore, with_prefix
from .settings import WebSettings
from .static import static_routes

__all__ = ["PassCore", "WebSettings", "static_routes", "with_prefix"]
