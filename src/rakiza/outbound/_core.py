"""Which addresses may be called and which calls may be repeated; no I/O."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import msgspec

from .errors import UnsafeAddressError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
_TABLE = {
    "metadata": "169.254.169.254 169.254.170.2 168.63.129.16 100.100.100.200 192.0.0.192 fd00:ec2::254 fd20:ce::254",
    "loopback": "127.0.0.0/8 ::1",
    "private": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7",
    "shared": "100.64.0.0/10",
    "link-local": "169.254.0.0/16 fe80::/10",
    "multicast": "224.0.0.0/4 ff00::/8",
    "documentation": "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20",
    "tunnel": "192.88.99.0/24 2001::/32 2002::/16",
    "reserved": "0.0.0.0/8 192.0.0.0/24 198.18.0.0/15 240.0.0.0/4 2001::/23",
}
SPECIAL: dict[str, tuple[Network, ...]] = {kind: tuple(map(ip_network, found.split())) for kind, found in _TABLE.items()}
"""The special-purpose addresses of IANA (RFC 6890) and those where clouds keep their metadata; the first kind that fits counts."""
OURS = frozenset({"loopback", "private", "shared"})
"""The kinds a host of our own may have: nobody's own service stands at a metadata, link-local or multicast address."""
UNICAST, NAT64 = IPv6Network("2000::/3"), IPv6Network("64:ff9b::/96")
"""All of IPv6 that is assigned to the Internet (RFC 4291), and the prefix under which an IPv4 address hides (RFC 6052)."""

IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
BUSY = frozenset({429, 502, 503, 504})
"""Answers after which the same call may succeed: too many requests, and a service that is away for now."""


def address_of(text: str) -> Address | None:
    """Return the address a text is, its zone left out, or none for a name."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def plain(address: Address) -> Address:
    """Return the IPv4 address that hides in an IPv6 one (mapped, NAT64), else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or (IPv4Address(int(address) & 0xFFFF_FFFF) if address in NAT64 else address)


def kind_of(address: Address) -> str | None:
    """Return why an address is no public one, such as `private` or `metadata`, or none for a public one."""
    seen = plain(address)
    for kind, networks in SPECIAL.items():
        if any(seen in network for network in networks):
            return kind
    return None if seen.version == 4 or seen in UNICAST else "reserved"


def host_name(text: str) -> str:
    """Return a host as names are compared: in ASCII (IDNA), small letters, no dot at the end."""
    try:
        return text.strip().rstrip(".").encode("idna").decode().lower()
    except UnicodeError:
        return text.strip().lower()


class Rules(msgspec.Struct, frozen=True):
    """Say which hosts are our own, which networks may be called all the same, and which ports."""

    internal_hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset({0})

    @classmethod
    def of(cls, hosts: Collection[str], networks: Collection[str], ports: Collection[int]) -> "Rules":
        """Return rules from what people write; raise ValueError for what is no network."""
        return cls(frozenset(map(host_name, hosts)), tuple(map(ip_network, networks)), frozenset(ports))

    def internal(self, host: str) -> bool:
        """Tell whether a host is one of our own: named itself, or below a name written as `*.svc.cluster.local`."""
        name = host_name(host)
        parents = (name[at + 1 :] for at, letter in enumerate(name) if letter == ".")
        return name in self.internal_hosts or any(f"*.{parent}" in self.internal_hosts for parent in parents)

    def check(self, host: str, port: int, address: Address) -> None:
        """Raise UnsafeAddressError unless `host` may be called at `address`."""
        if any(address in network or plain(address) in network for network in self.networks):
            return
        kind, ours = kind_of(address), self.internal(host)
        if kind is not None and not (ours and kind in OURS):
            raise UnsafeAddressError(host, str(address), kind, internal_may=kind in OURS)
        if not ours and not self.ports & {0, port}:
            raise UnsafeAddressError(host, f"{address} port {port}", "port")

    def checked(self, host: str, port: int, found: Collection[str]) -> list[str]:
        """Return the addresses of a host, each once, in their order; one that may not be called refuses the host, whatever the others are."""
        for text in found:
            address = address_of(text)
            if address is None:
                raise UnsafeAddressError(host, text, "reserved")
            self.check(host, port, address)
        return list(dict.fromkeys(found))


def may_repeat(method: str, headers: Mapping[str, str], *, kept: bool) -> bool:
    """Tell whether doing a call twice is as good as once (RFC 9110, 9.2.2) and its body is `kept`: a stream is gone once sent."""
    return kept and (method.upper() in IDEMPOTENT or (method.upper() == "POST" and bool(headers.get("idempotency-key"))))


def retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds a `Retry-After` asks for (RFC 9110, 10.2.3), or none for what cannot be read."""
    text = (value or "").strip()
    if text.isdecimal() and text.isascii():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
