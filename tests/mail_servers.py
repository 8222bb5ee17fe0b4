"""Real SMTP servers for tests: one that takes mail and answers as told, and ones that break off or never answer."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "noufal", "open sesame"


@dataclass
class Taken:
    """Hold a message a server took."""

    sender: str
    recipients: list[str]
    raw: bytes
    encrypted: bool
    user: str | None

    @property
    def message(self) -> EmailMessage:
        """Return the message as a mail program reads it."""
        return message_from_bytes(self.raw, EmailMessage, policy=default)  # type: ignore[arg-type]

    def header(self, name: str) -> str:
        """Return a header with its encoded words decoded (RFC 2047)."""
        return str(make_header(decode_header(str(message_from_bytes(self.raw)[name]).replace("\r\n", ""))))

    def part(self, kind: str) -> str:
        """Return the text of the part `text/<kind>`."""
        return next(str(part.get_content()) for part in self.message.walk() if part.get_content_type() == f"text/{kind}")


@dataclass
class Inbox:
    """Take every message but those it is told to refuse: `refuse` by recipient, `answers` to `MAIL` or `DATA`, one after another."""

    taken: list[Taken] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    answers: dict[str, list[str]] = field(default_factory=dict)
    port: int = 0
    pause_seconds: float = 0.0
    """How long it thinks about each recipient."""

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:  # noqa: N802
        """Answer to one recipient."""
        await asyncio.sleep(self.pause_seconds)
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:  # noqa: N802
        """Answer to the sender."""
        if waiting := self.answers.get("MAIL"):
            return waiting.pop(0)
        envelope.mail_from = address
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Answer to the message."""
        if waiting := self.answers.get("DATA"):
            return waiting.pop(0)
        user = session.auth_data.decode() if isinstance(session.auth_data, bytes) else None
        raw, encrypted = envelope.original_content or b"", server.transport.get_extra_info("sslcontext") is not None
        self.taken.append(Taken(envelope.mail_from or "", list(envelope.rcpt_tos), raw, encrypted, user))
        return "250 OK"


def _authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=known, handled=False, auth_data=USER.encode() if known else None)


class _Quiet(Controller):
    def __init__(self, inbox: Inbox, direct: ssl.SSLContext | None, **options: object) -> None:
        super().__init__(inbox, hostname="127.0.0.1", port=0, ssl_context=direct, **options)

    def _trigger_server(self) -> None:
        """Ask for the port that the system gave before the first connection is made."""
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextlib.contextmanager
def smtp_server(security: str = "none", certificate: Path | None = None, *, login: bool = False, utf8: bool = True) -> Iterator[Inbox]:
    """Serve SMTP on a free port with `starttls`, `tls` or neither; with `login` only for `USER` and `PASSWORD`."""
    inbox, context = Inbox(), None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    options: dict[str, object] = {"enable_SMTPUTF8": utf8}
    if security == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    if login:
        options |= {"authenticator": _authenticate, "auth_required": True, "auth_require_tls": security == "starttls"}
    controller = _Quiet(inbox, context if security == "tls" else None, **options)
    controller.start()
    inbox.port = controller.port
    try:
        yield inbox
    finally:
        controller.stop()


def write_certificate(path: Path, name: str = "127.0.0.1") -> Path:
    """Write a key and a certificate for it that signs itself, for an address or a name, and return the file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime(2026, 1, 1, tzinfo=UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=36_500))
    named = x509.IPAddress(ipaddress.ip_address(name)) if name[-1].isdigit() else x509.DNSName(name)
    builder = builder.add_extension(x509.SubjectAlternativeName([named]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextlib.contextmanager
def broken_server(breaks_at: str, *, hangs: bool) -> Iterator[int]:
    """Serve SMTP up to a command (`connect`, `MAIL`, `DATA`, `text` for the middle of a message) and then hang up, or say nothing more."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)

        def serve() -> None:
            while not over.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = listening.accept()
                    with connection:
                        connection.settimeout(10)
                        _talk(connection, breaks_at)
                        if hangs:
                            over.wait()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            thread.join()


def _talk(connection: socket.socket, breaks_at: str) -> None:
    if breaks_at == "connect":
        return
    connection.sendall(b"220 here\r\n")
    while line := connection.recv(65_536):
        verb = line[:4].decode("ascii", "replace").upper()
        if verb in {breaks_at, "QUIT"}:
            return
        if verb == "DATA":
            connection.sendall(b"354 go on\r\n")
            connection.recv(1)
            return
        connection.sendall(b"250 OK\r\n")
