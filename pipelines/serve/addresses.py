"""Who asks, where there is no token: the address that a rate is counted for."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network
_SITE = 64
"""Bits of an IPv6 address that say whose it is: the rest is the machine's own choice."""


def asking(peer: str, forwarded: str, trusted: Sequence[Network]) -> str:
    """Who asks: the peer of the connection, or before a ``trusted`` proxy the last address of
    X-Forwarded-For that is none. Whoever is not trusted may write anything into that header."""
    address = _read(peer)
    for hop in reversed(forwarded.split(",")):
        if address is None or not any(address in network for network in trusted):
            break
        before = _read(hop)
        if before is None:
            break
        address = before
    if address is None:
        return peer
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, _SITE), strict=False))
    return str(address)


def _read(written: str) -> IPv4Address | IPv6Address | None:
    """An address, with a port or without."""
    written = written.strip()
    if written.startswith("["):
        written = written[1:].partition("]")[0]
    elif written.count(":") == 1:
        written = written.partition(":")[0]
    try:
        address = ip_address(written.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
