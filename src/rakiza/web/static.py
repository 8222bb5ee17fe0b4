"""Serve a folder of built files: hashed assets for ever, precompressed where the client takes it, and one page with a fresh nonce."""

import mimetypes
import os
from collections.abc import Iterable
from pathlib import Path

from rakiza._kernel import PUBLIC, Request, Response, Route, token
from rakiza._kernel.http import OWN_PREFIX
from rakiza.errors import NotFoundError
from rakiza.security import html_csp

IMMUTABLE = (b"cache-control", b"public, max-age=31536000, immutable")
NONCE = b"__NONCE__"
_ENCODINGS = ((b"br", ".br"), (b"gzip", ".gz"))
_MISSING = b"""<!doctype html><html lang="ar" dir="rtl"><meta charset="utf-8"><title>not built</title>
<h1>\xd8\xa7\xd9\x84\xd9\x88\xd8\xa7\xd8\xac\xd9\x87\xd8\xa9 \xd8\xba\xd9\x8a\xd8\xb1 \xd9\x85\xd8\xa8\xd9\x86\xd9\x8a\xd8\xa9</h1>
<p dir="ltr">The server runs; its browser interface was not built. Run <code>make ui</code> with npm at hand and reload.</p></html>"""


class StaticFolder:
    """Know the files of one folder, built to stand at `prefix`; paths from requests are looked up, never joined."""

    def __init__(self, folder: Path, prefix: str = "") -> None:
        self._folder = folder
        self._prefix = prefix
        self._index = folder / "index.html"
        self._files: frozenset[str] = frozenset()
        self._page: bytes | None = None
        self._built = 0
        self._load_when_built()

    def _load_when_built(self) -> None:
        """Read the folder again when its page was written since."""
        try:
            built = self._index.stat().st_mtime_ns
        except OSError:
            built = 0
        if built != self._built:
            self._files = _names(str(self._folder))
            self._page = self._index.read_bytes() if built else None
            self._built = built

    def page(self, request: Request) -> Response:
        """Return the one page, its nonce new each time; under `/_rakiza` it names its assets there, for the host may have its own at `prefix`."""
        self._load_when_built()
        nonce = token(128)
        body = self._page.replace(NONCE, nonce.encode()) if self._page is not None else _MISSING
        if request.path.startswith(OWN_PREFIX):
            body = body.replace(f'"{self._prefix}/assets/'.encode(), f'"{OWN_PREFIX}{self._prefix}/assets/'.encode())
        headers = [(b"content-security-policy", html_csp(nonce)), (b"cache-control", b"no-store")]
        return Response(body, headers=headers, content_type=b"text/html; charset=utf-8")

    def asset(self, request: Request) -> Response:
        """Return one file of `assets/`; its name carries its hash, so it never changes."""
        return self.named("assets/" + request.params["path"], request, (IMMUTABLE,))

    def named(self, name: str, request: Request, headers: Iterable[tuple[bytes, bytes]] = ()) -> Response:
        """Return the file `name`; raise NotFoundError."""
        if name not in self._files or name.endswith((".br", ".gz")):
            raise NotFoundError(f"there is no file {name}")
        chosen, encoding = self._encoded(name, request.headers.get(b"accept-encoding", b""))
        try:
            size = chosen.stat().st_size
        except OSError:  # the interface was built again under a running server
            raise NotFoundError(f"the file {name} is gone; load the page again") from None
        own = [*headers, (b"vary", b"accept-encoding"), (b"content-length", str(size).encode())]
        if encoding:
            own.append((b"content-encoding", encoding))
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        if kind.startswith("text/"):
            kind += "; charset=utf-8"
        return Response(headers=own, content_type=kind.encode(), file=chosen)

    def _encoded(self, name: str, accepted: bytes) -> tuple[Path, bytes]:
        for encoding, suffix in _ENCODINGS:
            if encoding in accepted and name + suffix in self._files:
                return self._folder / (name + suffix), encoding
        return self._folder / name, b""


def _names(folder: str) -> frozenset[str]:
    """Return the names of all files below a folder, as they stand in addresses."""
    found = ((os.path.relpath(above, folder).replace(os.sep, "/"), files) for above, _, files in os.walk(folder))
    return frozenset(name if above == "." else f"{above}/{name}" for above, files in found for name in files)


def static_routes(folder: Path, pages: Iterable[str], prefix: str = "") -> tuple[Route, ...]:
    """Return the routes of a single-page application: its assets below `prefix`, and its one page at every path of `pages`."""
    static = StaticFolder(folder, prefix)
    found = [Route(method="GET", path=path, handler=static.page, permission=PUBLIC, inline=True) for path in pages]
    found.insert(0, Route(method="GET", path=f"{prefix}/assets/{{path:path}}", handler=static.asset, permission=PUBLIC, quiet=True))
    return tuple(found)
