"""Client addresses: the rate-limit key of requests without a token."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network
_SITE = 64
"""Prefix length that identifies an IPv6 client: hosts choose the remaining bits freely."""


def client_address(peer: str, forwarded: str, trusted: Sequence[Network]) -> str:
    """The client's address: the peer, or behind ``trusted`` proxies the last untrusted address of
    X-Forwarded-For. Entries further left can be forged by the client."""
    address = _parse(peer)
    for hop in reversed(forwarded.split(",")):
        if address is None or not any(address in network for network in trusted):
            break
        before = _parse(hop)
        if before is None:
            break
        address = before
    if address is None:
        return peer
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, _SITE), strict=False))
    return str(address)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address with an optional port; None if it is invalid."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
