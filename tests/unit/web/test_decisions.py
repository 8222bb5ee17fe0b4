"""Pure decisions of the pass: whose address counts, headers that come twice, which route a path means, whose header stays."""

import re
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza._kernel import PUBLIC, Request, Response, Route
from rakiza.web import with_prefix
from rakiza.web._core import client_address, forwarded_address, joined_headers
from rakiza.web._router import Match, Router

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
names = st.sampled_from([b"host", b"cookie", b"x-forwarded-for", b"accept", b"sec-fetch-site"])


def route(path: str, method: str = "GET") -> Route:
    def answer(_: Request) -> Response:
        return Response()

    return Route(method=method, path=path, handler=answer, permission=PUBLIC)


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        ("198.51.100.1", "198.51.100.1"),
        (" 198.51.100.1:4711 ", "198.51.100.1"),
        ('"[2001:db8::7]:4711"', "2001:db8::7"),
        ("2001:DB8::7", "2001:db8::7"),
        ("unknown", None),
        ("<script>", None),
        ("", None),
    ],
)
def test_one_hop_names_an_address_or_none(hop: str, address: str | None) -> None:
    assert forwarded_address(hop) == address


@given(st.lists(addresses, min_size=1, max_size=6), st.integers(1, 6))
def test_the_address_counts_from_the_own_proxies_and_what_a_client_adds_in_front_changes_nothing(
    hops: list[IPv4Address | IPv6Address], proxies: int
) -> None:
    told = ", ".join(map(str, hops)).encode()
    found = client_address("10.0.0.1", {b"x-forwarded-for": told}, proxies)
    assert found == (str(hops[-proxies]) if len(hops) >= proxies else "10.0.0.1")
    if len(hops) >= proxies:
        assert client_address("10.0.0.1", {b"x-forwarded-for": b"6.6.6.6, nonsense, " + told}, proxies) == found


def test_without_proxies_of_ones_own_nobody_is_believed() -> None:
    assert client_address("203.0.113.7", {b"x-forwarded-for": b"127.0.0.1"}, 0) == "203.0.113.7"
    assert client_address("203.0.113.7", {b"x-forwarded-for": b"not an address"}, 1) == "203.0.113.7"


@given(st.lists(st.tuples(names, st.binary(min_size=1, max_size=5)), max_size=8))
def test_headers_that_come_several_times_are_joined_in_order(raw: list[tuple[bytes, bytes]]) -> None:
    found = joined_headers(raw)
    assert set(found) == {name for name, _ in raw}
    for name, value in found.items():
        assert value == (b"; " if name == b"cookie" else b", ").join(one for other, one in raw if other == name)


def test_a_path_means_its_own_route_before_a_pattern() -> None:
    plain, item, rest = route("/a/b"), route("/a/{name}"), route("/files/{rest:path}")
    router = Router([item, plain, rest, route("/a/{name}", "DELETE")])
    assert router.find("GET", "/a/b") == Match(plain, {})
    assert router.find("GET", "/a/باب") == Match(item, {"name": "باب"})
    assert router.find("HEAD", "/a/x") == Match(item, {"name": "x"})
    assert router.find("PUT", "/a/x") == frozenset({"GET", "DELETE"})
    assert router.find("GET", "/files/x/y.txt") == Match(rest, {"rest": "x/y.txt"})
    assert [router.find("GET", path) for path in ("/", "/a", "/a/b/c", "/files/", "/a/")] == [None] * 5
    with pytest.raises(ValueError, match="two routes for GET /a/b"):
        Router([plain, plain])


@given(st.text(st.sampled_from("x/yب "), max_size=12))
def test_any_path_finds_a_route_that_fits_or_none(path: str) -> None:
    found = Router([route("/x/{one}/y"), route("/x/{all:path}")]).find("GET", path)
    if path.startswith("/x/") and len(path) > 3:
        assert isinstance(found, Match)
        assert "/x/" + found.params.get("all", found.params.get("one", "") + "/y") == path
    else:
        assert found is None


@pytest.mark.parametrize("template", ["/api/users/{id}", "/api/users/{id:path}"])
@pytest.mark.parametrize("theirs", [r"/api/users/\d+", "/api/users/[a-z]+", "/api/users/[0-9a-f-]{36}"])
def test_a_hosts_template_keeps_its_paths_whatever_it_takes(template: str, theirs: str) -> None:
    kept, conflicts = with_prefix([route(template), route("/livez")], lambda _, path: re.fullmatch(theirs, path) is not None)
    assert [one.path for one in conflicts] == [template]
    assert [one.path for one in kept] == [f"/_rakiza{template}", "/_rakiza/livez", "/livez"]
