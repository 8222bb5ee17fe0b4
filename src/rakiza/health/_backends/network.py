"""Look at Redis and outside services with nothing but sockets."""

import http.client
import socket
import ssl

from rakiza._kernel import CheckResult
from rakiza.health._core import Target

CONNECT_SECONDS = 1.5
_LINE_BYTES = 512


def look(target: Target) -> CheckResult:
    """Ask once; raise OSError or HTTPException when nobody answers."""
    if target.scheme.startswith("redis"):
        return _redis(target)
    if target.scheme == "tcp":
        socket.create_connection((target.host, target.port), CONNECT_SECONDS).close()
        return CheckResult()
    kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
    connection = kind(target.host, target.port, timeout=CONNECT_SECONDS)
    try:
        connection.request("GET", target.path, headers={"user-agent": "rakiza-health", "connection": "close"})
        status = connection.getresponse().status
    finally:
        connection.close()
    return CheckResult("pass" if status < 500 else "fail", status, "status", None if status < 500 else f"answers {status}")


def _redis(target: Target) -> CheckResult:
    words = [["AUTH", *filter(None, [target.user]), target.password]] if target.password else []
    asked = b"".join(_command(*command) for command in (*words, ["PING"]))
    with socket.create_connection((target.host, target.port), CONNECT_SECONDS) as plain:
        stream = ssl.create_default_context().wrap_socket(plain, server_hostname=target.host) if target.scheme == "rediss" else plain
        with stream, stream.makefile("rb") as answers:
            stream.sendall(asked)
            said = [answers.readline(_LINE_BYTES).decode("utf-8", "replace").strip() for _ in range(len(words) + 1)]
    refused = next((line for line in said if not line.startswith("+")), None)
    return CheckResult() if refused is None else CheckResult("fail", output=refused.removeprefix("-") or "hung up")


def _command(*words: str) -> bytes:
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
