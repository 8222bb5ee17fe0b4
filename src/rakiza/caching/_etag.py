"""ETags: answer 304 instead of a body the client has (RFC 9110, sections 8.8.3 and 13.1.2)."""

from hashlib import blake2b

from rakiza._kernel import Request, Response


def etag(body: bytes) -> str:
    """Return a strong entity tag of a body."""
    return f'"{blake2b(body, digest_size=12).hexdigest()}"'


def matches(tag: str, if_none_match: str) -> bool:
    """Tell whether an If-None-Match header names the tag, by weak comparison as the standard asks for GET."""
    names = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return "*" in names or tag.removeprefix("W/") in names


def conditional(request: Request, response: Response, *, max_age: int = 0) -> Response:
    """Give a response its ETag and Cache-Control, and return a 304 without a body when the client has it already."""
    if request.method not in {"GET", "HEAD"} or response.status != 200 or response.stream is not None or response.file is not None:
        return response
    tag = etag(response.body)
    headers = [(b"etag", tag.encode()), (b"cache-control", b"private, max-age=%d" % max_age if max_age else b"private, no-cache")]
    if matches(tag, request.header("if-none-match")):
        return Response(b"", 304, headers)
    response.headers += headers
    return response
