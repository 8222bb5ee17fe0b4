"""A bare ASGI callable with the platform around it. Run it from this folder: `rakiza serve asgi_app:app`.

A bare callable cannot be changed in place: what the server calls is `platform.app`.
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from rakiza import integrate
from rakiza.errors import NotFoundError

PROJECTS = {"VILLA-01": "فيلا النرجس"}
Message = MutableMapping[str, Any]


async def projects(scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
    """Answer one project; an unknown code becomes a 404 in problem+json."""
    if scope["type"] != "http":
        raise RuntimeError("only HTTP is spoken here; the platform answers the server's start and stop")
    code = scope["path"].removeprefix("/projects/")
    if code not in PROJECTS:
        raise NotFoundError(f"there is no project {code}", message_ar=f"لا يوجد مشروع {code}")
    body = json.dumps({"code": code, "name": PROJECTS[code]}, ensure_ascii=False).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


platform = integrate(projects)
app = platform.app
