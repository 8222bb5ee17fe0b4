"""Where outgoing calls get to: the address that was checked, by the name that was called, and nowhere else."""

import asyncio
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from call_servers import Caller, Service, reply, service
from mail_servers import write_certificate
from rakiza import build
from rakiza._kernel import deadline, use_context
from rakiza.errors import MissingExtraError
from rakiza.outbound import Outbound, OutboundSettings, UnsafeAddressError, _backends, aiohttp_session, async_http_client, http_client
from rakiza.outbound._backends.lookup import look_up, look_up_later
from rakiza.outbound._core import Rules, address_of
from rakiza.telemetry import Telemetry, TelemetrySettings

KINDS = ("httpx", "async_httpx", "aiohttp")
DISGUISES = ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.1", "0177.0.0.1", "2130706433", "0x7f.1", "0")
PRIVATE = ("10.0.0.1", "192.168.1.1", "169.254.169.254", "[fd00:ec2::254]", "[64:ff9b::7f00:1]", "100.64.0.1", "[fe80::1]", "224.0.0.1", "240.0.0.1")
REFUSED = (UnsafeAddressError, aiohttp.InvalidURL, httpx.InvalidURL)  # some disguises the libraries know themselves


@pytest.fixture(params=KINDS)
def caller(request: pytest.FixtureRequest) -> Caller:
    """Return a caller that knows no host of its own."""
    return Caller(request.param, Outbound(OutboundSettings(attempts=1, total_seconds=20.0, ports=(0,))))


@pytest.fixture
def inside() -> Iterator[Service]:
    """Serve what nobody outside may see."""
    with service(reply(body="سر")) as made:
        yield made


Names = Callable[..., list[list[str]]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Return what lets every name have one list of addresses after another, and remembers who was asked for."""

    def serve(*answers: list[str]) -> list[list[str]]:
        left, asked, real = list(answers), [], socket.getaddrinfo

        def getaddrinfo(host: str, port: int, *more: Any, **options: Any) -> list[tuple[Any, ...]]:
            if address_of(host) is not None:
                return real(host, port, *more, **options)
            asked.append(host)
            known = left.pop(0)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return serve


@pytest.mark.parametrize("host", DISGUISES)
def test_no_disguise_of_this_machine_is_called(caller: Caller, inside: Service, host: str) -> None:
    with pytest.raises(REFUSED):
        caller.call("GET", inside.url(host))
    assert inside.seen == []


@pytest.mark.parametrize("host", [host.strip("[]") for host in DISGUISES])
def test_a_disguise_that_gets_as_far_as_the_name_service_is_seen_through(host: str) -> None:
    with pytest.raises(UnsafeAddressError):
        look_up(Rules(), host, 80, 5.0)
    with pytest.raises(UnsafeAddressError):
        asyncio.run(look_up_later(Rules(), host, 80))


@pytest.mark.parametrize("host", PRIVATE)
def test_no_address_inside_is_called(caller: Caller, host: str) -> None:
    with pytest.raises(UnsafeAddressError):
        caller.call("GET", f"http://{host}/latest/meta-data/")


def test_a_name_that_leads_inside_is_not_called(caller: Caller, inside: Service, names: Names) -> None:
    asked = names(["127.0.0.1"], ["93.184.215.14", "127.0.0.1"])
    for _ in range(2):
        with pytest.raises(UnsafeAddressError) as caught:
            caller.call("GET", inside.url("فاتورة.example"))
        assert caught.value.address == "127.0.0.1"
    assert inside.seen == []
    assert asked == ["فاتورة.example".encode("idna").decode()] * 2


@pytest.mark.parametrize("host", ["فاتورة.example", "127.0.0.1"])
def test_each_refusal_is_a_line_of_the_log_with_the_address_and_what_mends_it(
    caller: Caller, inside: Service, names: Names, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    names(["127.0.0.1"])
    with pytest.raises(UnsafeAddressError):
        caller.call("GET", inside.url(host))
    lines = [record.getMessage() for record in caplog.records if record.name == "rakiza.outbound"]
    assert len(lines) == 1
    assert "it is 127.0.0.1, a loopback address" in lines[0]
    assert "RAKIZA_OUTBOUND_ALLOWED_NETWORKS" in lines[0]


def test_a_name_is_asked_for_once_and_its_address_is_the_one_called(caller: Caller, inside: Service, names: Names) -> None:
    asked = names(["127.0.0.1"])  # to ask again would fail
    got = caller.call("GET", inside.url("rebinding.example"), allowed_networks=("127.0.0.0/8",))
    assert (got.text, asked) == ("سر", ["rebinding.example"])
    assert inside.seen[0].headers["host"] == f"rebinding.example:{inside.port}"


def test_a_name_that_changes_is_checked_anew(caller: Caller, inside: Service, names: Names) -> None:
    names(["127.0.0.1"], ["127.0.0.2"])
    options: dict[str, Any] = {"allowed_networks": ("127.0.0.1/32",)}
    assert caller.call("GET", inside.url("rebinding.example"), **options).text == "سر"
    with pytest.raises(UnsafeAddressError):
        caller.call("GET", inside.url("rebinding.example"), **options)
    assert len(inside.seen) == 1


def test_a_refusal_is_not_tried_again_and_says_nothing_about_the_host(caller: Caller, inside: Service, names: Names) -> None:
    asked = names(*[["127.0.0.1"]] * 30)
    for _ in range(30):
        with pytest.raises(UnsafeAddressError):
            caller.call("GET", inside.url("rebinding.example"), attempts=3)
    assert len(asked) == 30


def test_the_next_address_is_called_when_one_does_not_answer(caller: Caller, inside: Service, names: Names) -> None:
    names(["127.0.0.2", "127.0.0.1"])
    assert caller.call("GET", inside.url("two.example"), allowed_networks=("127.0.0.0/8",)).text == "سر"


def test_an_unknown_name_is_a_failed_connection(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises((httpx.ConnectError, aiohttp.ClientConnectorError), match=r"nowhere\.example"):
        caller.call("GET", "http://nowhere.example/")


def test_a_name_that_is_not_found_in_time_holds_nobody(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(20) and [])
    try:
        with pytest.raises((httpx.TransportError, TimeoutError)):
            caller.call("GET", "http://slow.example/", total_seconds=0.3)
        assert not over.is_set()
    finally:
        over.set()


@pytest.mark.parametrize("target", ["http://127.0.0.1:{port}/", "http://169.254.169.254/latest/", "http://2130706433:{port}/", "//127.0.0.1:{port}/"])
def test_a_redirect_inside_is_refused(caller: Caller, inside: Service, target: str) -> None:
    with service(reply(302, location=target.format(port=inside.port))) as outside:
        assert caller.call("GET", outside.url(), internal_hosts=("localhost",)).status == 302
        with pytest.raises(REFUSED):
            caller.call("GET", outside.url(), internal_hosts=("localhost",), follow_redirects=True)
    assert inside.seen == []


def test_a_redirect_is_followed_when_asked_and_only_three_times(caller: Caller, inside: Service) -> None:
    with service(reply(302, location=inside.url())) as outside, service(reply(302, location="/")) as circle:
        options: dict[str, Any] = {"internal_hosts": ("localhost",), "follow_redirects": True}
        assert caller.call("GET", outside.url(), **options).text == "سر"
        with pytest.raises((httpx.TooManyRedirects, aiohttp.TooManyRedirects)):
            caller.call("GET", circle.url(), **options)


def test_a_session_refuses_redirects_even_where_a_call_says_nothing() -> None:
    async def call(url: str) -> None:
        async with aiohttp_session("bank", internal_hosts=("localhost",), ports=(0,)) as session:
            with pytest.raises(aiohttp.TooManyRedirects, match="allow_redirects"):
                await session.get(url)

    with service(reply(302, location="/")) as circle:
        asyncio.run(call(circle.url()))
        assert len(circle.seen) == 1


def test_no_proxy_of_the_environment_is_used(caller: Caller, inside: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert caller.call("GET", inside.url(), internal_hosts=("localhost",)).text == "سر"
    with pytest.raises(UnsafeAddressError):
        caller.call("GET", inside.url())


def test_a_port_that_is_not_allowed_is_not_called(caller: Caller, inside: Service, names: Names) -> None:
    names(["93.184.215.14"])
    with pytest.raises(UnsafeAddressError, match="port"):
        caller.call("GET", "http://example.com:6379/", ports=(80, 443))


def secured(path: Path, name: str) -> tuple[ssl.SSLContext, str]:
    """Return how a server of that name speaks TLS, and the file of who vouches for it."""
    context, file = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), write_certificate(path / f"{name}.pem", name)
    context.load_cert_chain(file)
    return context, str(file)


def test_the_name_of_tls_stays_the_one_that_was_called(caller: Caller, tmp_path: Path, names: Names) -> None:
    context, file = secured(tmp_path, "bank.example")
    names(["127.0.0.1"])
    with service(reply(body="آمن"), secure=context) as bank:
        got = caller.call("GET", bank.url("bank.example", "https"), allowed_networks=("127.0.0.0/8",), ca_file=file)
        assert got.text == "آمن"
        assert bank.names == ["bank.example"]


def test_who_has_the_certificate_of_another_name_or_of_nobody_known_is_not_trusted(caller: Caller, tmp_path: Path, names: Names) -> None:
    context, file = secured(tmp_path, "bank.example")
    names(["127.0.0.1"], ["127.0.0.1"])
    with service(reply(), secure=context) as bank:
        for host, trusted in (("other.example", file), ("bank.example", "")):
            with pytest.raises((httpx.ConnectError, aiohttp.ClientConnectorError)):
                caller.call("GET", bank.url(host, "https"), allowed_networks=("127.0.0.0/8",), ca_file=trusted)
        assert bank.seen == []


def test_only_a_host_of_ones_own_is_told_how_long_we_wait(caller: Caller) -> None:
    with service(reply()) as ours, service(reply()) as other:
        options: dict[str, Any] = {"internal_hosts": ("localhost",), "allowed_networks": ("127.0.0.0/8",), "attempt_seconds": 15.0}
        caller.call("GET", ours.url(), **options)
        with deadline(5.0):
            caller.call("GET", ours.url(), **options)
        caller.call("GET", other.url("127.0.0.1"), headers={"x-deadline-ms": "1"}, **options)
        first, second = (int(seen.headers["x-deadline-ms"]) for seen in ours.seen)
        assert 5_000 < first <= 15_000
        assert 0 < second <= 5_000
        assert "x-deadline-ms" not in other.seen[0].headers


def test_a_redirect_to_another_host_takes_no_deadline_and_no_secret_along(caller: Caller) -> None:
    with service(reply()) as other, service(reply(302, location=other.url("127.0.0.1"))) as ours:
        options: dict[str, Any] = {"internal_hosts": ("localhost",), "allowed_networks": ("127.0.0.0/8",), "follow_redirects": True}
        caller.call("GET", ours.url(), headers={"authorization": "Bearer s"}, **options)
        assert {"x-deadline-ms", "authorization"} <= set(ours.seen[0].headers)
        assert not {"x-deadline-ms", "authorization"} & set(other.seen[0].headers)


def test_the_trace_goes_on(caller: Caller, inside: Service) -> None:
    telemetry = Telemetry("site", TelemetrySettings(sample_ratio=1.0))
    context = telemetry.begin("GET", "/", "127.0.0.1", None, trusted=False)
    span = telemetry.open(context)
    with use_context(context):
        caller.call("GET", inside.url(), internal_hosts=("localhost",))
    span.detach()
    telemetry.finish(context, span, "/", 200, 0.1, None, secure=False)
    assert inside.seen[0].headers["traceparent"].split("-")[1] == context.trace_id


def test_a_platform_gives_its_clients_its_settings(tmp_path: Path) -> None:
    given = {"hub": {"home": tmp_path}, "logs": {"console": False}, "outbound": {"internal_hosts": ["localhost"], "attempts": 1}}
    platform = build(given, environ={})
    assert platform.outbound.settings.attempts == 1
    with service(reply()) as ours:
        with http_client("bank") as client, pytest.raises(UnsafeAddressError):
            client.get(ours.url())
        platform.start()
        try:
            with http_client("bank", ours.url()) as client:
                assert client.get("/").status_code == 200

            async def later() -> int:
                async with async_http_client("bank", ours.url(), headers={"x-key": "k"}) as client:
                    return (await client.get("/")).status_code

            assert asyncio.run(later()) == 200
            assert ours.seen[1].headers["x-key"] == "k"
        finally:
            platform.shutdown()


@pytest.mark.parametrize(
    ("library", "extra", "open_one"),
    [("httpx", "outbound", http_client), ("httpx", "outbound", async_http_client), ("aiohttp", "aiohttp", aiohttp_session)],
)
def test_a_library_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, library: str, extra: str, open_one: Callable[[str], object]
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"rakiza.outbound._backends.{library}", raising=False)
    monkeypatch.delattr(_backends, library, raising=False)
    with pytest.raises(MissingExtraError, match=extra) as caught:
        open_one("bank")
    assert f"rakiza[{extra}]" in str(caught.value.hint)


def test_settings_of_a_client_are_checked() -> None:
    for wrong in ({"attempts": 0}, {"total_seconds": 0.0}, {"allowed_networks": ("intranet",)}, {"no_such": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Outbound().http_client("bank", **wrong)
    for name in ("", "bank/statements"):
        with pytest.raises(ValueError, match="without a slash"):
            Outbound().http_client(name)
