"""Which addresses outgoing calls may reach: no disguise of an inner address passes."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza._kernel import SettingsError, SettingsReader
from rakiza.errors import problem
from rakiza.outbound import OutboundSettings, UnsafeAddressError
from rakiza.outbound._core import NAT64, OURS, SPECIAL, Rules, address_of, kind_of

V4, V6 = st.ip_addresses(v=4), st.ip_addresses(v=6)
PUBLIC = ("1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e", "64:ff9b::101:101", "::ffff:1.1.1.1")
OPEN = Rules()


def special() -> st.SearchStrategy[IPv4Address | IPv6Address]:
    """Return addresses from inside the special networks: at random hardly one would be hit."""
    networks = [network for found in SPECIAL.values() for network in found]
    return st.sampled_from(networks).flatmap(lambda network: st.ip_addresses(network=network))


def refused(rules: Rules, address: str, *, host: str = "example.com", port: int = 443) -> str | None:
    try:
        rules.check(host, port, ip_address(address))
    except UnsafeAddressError as error:
        return error.kind
    return None


@pytest.mark.parametrize(
    ("kind", "addresses"),
    [
        ("loopback", "127.0.0.1 127.255.255.254 ::1 ::ffff:127.0.0.1 ::ffff:7f00:1 64:ff9b::7f00:1"),
        ("private", "10.1.2.3 172.16.0.1 172.31.255.255 192.168.0.1 fc00::1 fd00::1 ::ffff:10.0.0.1 64:ff9b::a01:203"),
        ("metadata", "169.254.169.254 169.254.170.2 168.63.129.16 100.100.100.200 192.0.0.192 fd00:ec2::254 fd20:ce::254 ::ffff:169.254.169.254"),
        ("link-local", "169.254.0.1 fe80::1 febf::1"),
        ("shared", "100.64.0.1 100.127.255.255"),
        ("multicast", "224.0.0.1 239.255.255.255 ff02::1 ff0e::1"),
        ("documentation", "192.0.2.1 198.51.100.7 203.0.113.9 2001:db8::1 3fff::1"),
        ("tunnel", "192.88.99.1 2002:7f00:1:: 2002:a01:203:: 2002:101:101:: 2001:0:4136:e378:8000:63bf:3fff:fdd2"),
        ("reserved", "0.0.0.0 0.1.2.3 240.0.0.1 255.255.255.255 198.18.0.1 192.0.0.1 :: ::7f00:1 ::ffff:0:7f00:1 64:ff9b:1::1 fec0::1 4000::1"),
    ],
)
def test_an_address_that_is_not_public_has_a_kind(kind: str, addresses: str) -> None:
    assert {text: kind_of(ip_address(text)) for text in addresses.split()} == dict.fromkeys(addresses.split(), kind)
    assert {refused(OPEN, text) for text in addresses.split()} == {kind}


def test_public_addresses_may_be_called() -> None:
    assert [refused(OPEN, text) for text in PUBLIC] == [None] * len(PUBLIC)


@given(V4 | V6 | special())
def test_nothing_is_public_that_python_takes_for_an_inner_address(address: IPv4Address | IPv6Address) -> None:
    hidden = getattr(address, "ipv4_mapped", None) or address
    if not hidden.is_global or hidden.is_multicast or hidden.is_loopback or hidden.is_link_local or hidden.is_unspecified:
        assert kind_of(address) is not None


@given(V4 | special().filter(lambda address: address.version == 4))
def test_an_ipv4_address_is_judged_alike_in_every_disguise(address: IPv4Address) -> None:
    mapped, nat64 = IPv6Address(0xFFFF_0000_0000 | int(address)), IPv6Address(int(NAT64.network_address) | int(address))
    assert kind_of(mapped) == kind_of(nat64) == kind_of(address)


@given(V6)
def test_no_ipv6_address_outside_the_assigned_ones_is_public(address: IPv6Address) -> None:
    if address not in ip_network("2000::/3") and address not in NAT64 and address.ipv4_mapped is None:
        assert kind_of(address) is not None


@given(V4 | V6 | special())
def test_a_network_that_is_allowed_is_open_and_nothing_else(address: IPv4Address | IPv6Address) -> None:
    assert refused(Rules.of((), (f"{address}/{address.max_prefixlen}",), (443,)), str(address), port=8080) is None
    other = ip_address(int(address) ^ 1) if address.version == 4 else IPv6Address(int(address) ^ 1)
    assert refused(Rules.of((), (f"{address}/{address.max_prefixlen}",), (0,)), str(other)) == kind_of(other)


@given(V4 | V6 | special())
def test_a_host_of_ones_own_may_be_private_and_never_metadata(address: IPv4Address | IPv6Address) -> None:
    rules = Rules.of(("billing",), (), (443,))
    kind = kind_of(address)
    assert refused(rules, str(address), host="billing", port=9000) == (None if kind in OURS else kind)
    assert refused(rules, str(address), host="billing.example.com") == kind


@pytest.mark.parametrize(
    ("named", "host", "internal"),
    [
        ("billing", "billing", True),
        ("Billing.", "BILLING", True),
        ("billing", "billing.example.com", False),
        ("*.svc.cluster.local", "api.shop.svc.cluster.local", True),
        ("*.svc.cluster.local", "svc.cluster.local", False),
        ("*.svc.cluster.local", "svc.cluster.local.evil.example", False),
        ("*.svc.cluster.local", "evilsvc.cluster.local", False),
        ("خادم.شركة", "xn--mgbne2g.xn--ogbpi5d", True),
        ("خادم.شركة", "خادم.شركة", True),
        ("10.0.0.7", "10.0.0.7", True),
    ],
)
def test_hosts_of_ones_own_are_named_whole_or_by_what_they_stand_below(named: str, host: str, *, internal: bool) -> None:
    assert Rules.of((named,), (), (0,)).internal(host) is internal


def test_a_port_of_another_host_must_be_one_of_those_allowed() -> None:
    rules = OutboundSettings(internal_hosts=("billing",)).rules
    assert [refused(rules, "1.1.1.1", port=port) for port in (80, 443, 25, 6379)] == [None, None, "port", "port"]
    assert refused(rules, "1.1.1.1", host="billing", port=6379) is None
    assert refused(OutboundSettings(ports=(0,)).rules, "1.1.1.1", port=25) is None


def test_one_bad_address_refuses_the_host() -> None:
    assert OPEN.checked("example.com", 443, ["1.1.1.1", "1.0.0.1", "1.1.1.1"]) == ["1.1.1.1", "1.0.0.1"]
    with pytest.raises(UnsafeAddressError):
        OPEN.checked("example.com", 443, ["1.1.1.1", "10.0.0.1"])
    with pytest.raises(UnsafeAddressError):
        OPEN.checked("example.com", 443, ["fe80::1%eth0"])
    with pytest.raises(UnsafeAddressError):
        OPEN.checked("example.com", 443, ["no address"])


def test_a_refusal_says_host_address_and_what_mends_it() -> None:
    with pytest.raises(UnsafeAddressError) as caught:
        OPEN.checked("فاتورة.شركة", 443, ["10.0.0.1"])
    assert caught.value.status == 422
    assert {"فاتورة.شركة", "10.0.0.1", "private"} <= set(str(caught.value).replace(",", "").split())
    assert "RAKIZA_OUTBOUND_INTERNAL_HOSTS" in caught.value.remedy
    assert "RAKIZA_OUTBOUND_ALLOWED_NETWORKS" in caught.value.remedy
    assert caught.value.__notes__ == [f"hint: {caught.value.remedy}"]
    with pytest.raises(UnsafeAddressError) as caught:
        OPEN.checked("example.com", 80, ["169.254.169.254"])
    assert "INTERNAL_HOSTS" not in caught.value.remedy


@pytest.mark.parametrize(("address", "port"), [("10.0.0.1", 443), ("169.254.169.254", 80), ("1.1.1.1", 6379), ("not an address", 80)])
def test_whoever_has_typed_a_name_does_not_learn_where_it_leads(address: str, port: int) -> None:
    with pytest.raises(UnsafeAddressError) as caught:
        OutboundSettings().rules.checked("فاتورة.شركة", port, [address])
    answer = problem(caught.value).decode()
    assert "فاتورة.شركة" in answer
    assert [word for word in (address, "private", "metadata", "RAKIZA_") if word in answer] == []


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_name(text: str) -> None:
    address = address_of(text)
    assert address is None or address_of(str(address)) == address
    Rules.of((text,), (), (0,)).internal(text)


@pytest.mark.parametrize("network", ["10.0.0.1/8", "10.0.0.0/33", "intranet", "fd00::/129"])
def test_what_is_no_network_is_refused_with_the_field_and_an_example(network: str) -> None:
    with pytest.raises(ValueError, match=r"allowed_networks.*10\.20\.0\.0/16"):
        OutboundSettings(allowed_networks=(network,))


def test_a_certificate_file_must_be_there() -> None:
    with pytest.raises(ValueError, match="ca_file"):
        OutboundSettings(ca_file="nowhere.pem")


def test_settings_come_from_the_environment_as_people_write_them() -> None:
    given = {"INTERNAL_HOSTS": "billing, *.شركة", "ALLOWED_NETWORKS": "10.20.0.0/16,fd12::/32", "PORTS": "80,8443", "ATTEMPTS": "1"}
    settings = SettingsReader(environ={f"RAKIZA_OUTBOUND_{name}": text for name, text in given.items()}, dotenv={}).read(OutboundSettings)
    assert settings.rules.internal("فواتير.شركة")
    assert refused(settings.rules, "10.20.255.1") is None
    assert refused(settings.rules, "fd12::1") is None
    assert [refused(settings.rules, "1.1.1.1", port=port) for port in (80, 8443, 443)] == [None, None, "port"]
    with pytest.raises(SettingsError, match="RAKIZA_OUTBOUND_TOTAL_SECONDS"):
        SettingsReader(environ={"RAKIZA_OUTBOUND_TOTAL_SECONDS": "0"}, dotenv={}).read(OutboundSettings)
