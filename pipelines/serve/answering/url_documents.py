"""Fetch documents by URL, with SSRF protection.

Only URLs under a configured prefix are fetched. The host is resolved once and the connection goes
to the vetted address. Redirects are not followed, and proxies of the environment are ignored.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from unicodedata import normalize
from urllib.parse import SplitResult, unquote, urlsplit

import httpcore2

from pipelines.config import UrlSource

_ALLOWED = re.compile(r"https?://(\[[0-9A-F:.]+\](?=[:/]))?[A-Za-z0-9._~!$&'()*+,;=:@/%?-]+", re.I)
_PORTS = {"http": 80, "https": 443}
_CONNECT_S, _READ_S = 5.0, 20.0
_HEADERS = [("accept", "*/*"), ("accept-encoding", "identity"), ("user-agent", "medspan")]
_NAT64 = IPv6Network("64:ff9b::/96")

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Resolves a host and port to IP addresses; raises OSError."""


class FetchError(Exception):
    """The URL could not be fetched; the message holds no part of the URL or the content."""


@dataclass(slots=True)
class ByteBudget:
    """Bytes that the URLs of a request may still download."""

    left: int


async def resolved(host: str, port: int) -> list[str]:
    """Resolve a host with the system resolver."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Fetcher:
    """Fetches URLs under the configured prefixes."""

    def __init__(self, sources: Sequence[UrlSource], resolve: Resolve = resolved) -> None:
        self._sources, self._resolve = sources, resolve

    def allows(self, url: str) -> bool:
        """True if the URL is under a configured prefix; makes no connection."""
        return self._source(url) is not None

    async def fetch(self, url: str, budget: ByteBudget) -> bytes:
        """Fetch the content of a URL; raises NotFetched, also if the URL is not allowed."""
        source = self._source(url)
        if source is None:
            raise FetchError("this URL is not under any prefix of serve.urls")
        backend = VettedResolver(self._resolve, source.private)
        timeout = {"connect": _CONNECT_S, "read": _READ_S, "write": _READ_S, "pool": _READ_S}
        try:
            async with (
                httpcore2.AsyncConnectionPool(network_backend=backend) as pool,
                pool.stream(
                    "GET", url, headers=_HEADERS, extensions={"timeout": timeout}
                ) as answer,
            ):
                return await _content(answer, budget)
        except FetchError:
            raise
        except Exception as error:
            # Only the type: the message may repeat the URL, which may name a patient.
            raise FetchError(f"fetching the URL failed: {type(error).__name__}") from None

    def _source(self, url: str) -> UrlSource | None:
        if not _ALLOWED.fullmatch(url):
            return None
        try:
            parts = urlsplit(url)
            origin = _origin(parts)
        except ValueError:
            return None
        if "@" in parts.netloc or not _plain(parts.path):
            return None
        for source in self._sources:
            known = urlsplit(source.prefix)
            if origin == _origin(known) and parts.path.startswith(known.path):
                return source
        return None


async def _content(answer: httpcore2.Response, budget: ByteBudget) -> bytes:
    if 300 <= answer.status < 400:
        raise FetchError("the URL redirects; redirects are not followed")
    if answer.status != 200:
        raise FetchError(f"the URL answered with status {answer.status}")
    if any(name.lower() == b"content-encoding" for name, _ in answer.headers):
        raise FetchError("the response has a Content-Encoding that was not requested")
    content = bytearray()
    async for part in answer.aiter_stream():
        budget.left -= len(part)
        if budget.left < 0:
            raise FetchError("the content exceeds the bytes left in limits.body_mb")
        content += part
    return bytes(content)


def _origin(url: SplitResult) -> tuple[str, str, int | None]:
    """Normalised scheme, host and port. Raises ValueError."""
    host = url.hostname or ""
    if ":" in host:
        host = str(IPv6Address(host))
    return url.scheme, host, url.port or _PORTS.get(url.scheme)


def _plain(path: str) -> bool:
    """True if a path is unambiguous: no server sees another path after decoding it repeatedly,
    stripping path parameters (``..;x``, as Java servers do) or normalising it (NFKC)."""
    for segment in path.split("/"):
        meant = normalize("NFKC", unquote(segment, errors="replace"))
        if any(c in "/\\%\ufffd" or c < " " for c in meant):
            return False
        name = meant.partition(";")[0]
        if meant and "." in name and not name.strip(". "):
            return False
    return True


class VettedResolver(httpcore2.AsyncNetworkBackend):
    """Network backend that vets resolved addresses and connects only to one of them, which defeats
    DNS rebinding."""

    def __init__(self, resolve: Resolve, private: bool) -> None:
        self._resolve, self._private = resolve, private
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the host's first address; raises NotFetched if any address is forbidden."""
        async with asyncio.timeout(timeout):
            addresses = await self._resolve(host, port)
        if not addresses or not all(may_reach(one, self._private) for one in addresses):
            raise FetchError("the host resolves to an address that is not allowed")
        return await self._inner.connect_tcp(
            addresses[0], port, timeout, local_address, socket_options
        )


def may_reach(address: str, private: bool) -> bool:
    """True if connections to an IP address are allowed: global ones always, private and loopback
    ones if ``private``, link-local ones (cloud metadata services) never."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ip_address(int(ip) & 0xFFFFFFFF)  # type: ignore[assignment]
        if inner is not None:
            return may_reach(str(inner), private)
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return False
    if ip.is_global:
        return not ip.is_reserved
    local = ip.is_loopback or (ip.is_private and not ip.is_reserved)
    return private and local and not (ip.version == 4 and int(ip) >> 24 == 0)
