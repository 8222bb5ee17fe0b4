"""The one pass around an application, as ASGI and as WSGI over the same decisions.

    from rakiza import integrate

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": "مرحبا".encode()})

    platform = integrate(app)      # serve platform.app: the pass around `app`
"""

from ._core import PassCore, with_prefix
from .settings import WebSettings
from .static import static_routes

__all__ = ["PassCore", "WebSettings", "static_routes", "with_prefix"]
