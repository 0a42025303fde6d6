"""Documents by address: only below the beginnings that the pipeline file lists.

Whoever may send a request must not thereby read what this machine can reach. So an address is
compared before anything is asked, its host is resolved once and connected to by the address that
was looked at, redirects are not followed, and no proxy of the environment is used.
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
"""From a host and port to its addresses; raises OSError."""


class NotFetched(Exception):
    """Why there is no content; the message holds nothing of the address or the content."""


@dataclass(slots=True)
class Room:
    """Bytes that a request may still bring by its addresses."""

    left: int


async def resolved(host: str, port: int) -> list[str]:
    """The addresses of a host, from this machine's resolver."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Fetcher:
    """Reads what lies below the listed beginnings."""

    def __init__(self, sources: Sequence[UrlSource], resolve: Resolve = resolved) -> None:
        self._sources, self._resolve = sources, resolve

    def allows(self, url: str) -> bool:
        """Whether the address is below a listed beginning, by its letters alone."""
        return self._source(url) is not None

    async def fetch(self, url: str, room: Room) -> bytes:
        """The content at an address; raises NotFetched, also for one that is not allowed."""
        source = self._source(url)
        if source is None:
            raise NotFetched("this server may not read this address")
        backend = _Looking(self._resolve, source.private)
        timeout = {"connect": _CONNECT_S, "read": _READ_S, "write": _READ_S, "pool": _READ_S}
        try:
            async with (
                httpcore2.AsyncConnectionPool(network_backend=backend) as pool,
                pool.stream(
                    "GET", url, headers=_HEADERS, extensions={"timeout": timeout}
                ) as answer,
            ):
                return await _content(answer, room)
        except NotFetched:
            raise
        except Exception as error:
            # By its type: its message may repeat the address, which may name a patient.
            raise NotFetched(f"the address cannot be read: {type(error).__name__}") from None

    def _source(self, url: str) -> UrlSource | None:
        if not _ALLOWED.fullmatch(url):
            return None
        try:
            asked = urlsplit(url)
            origin = _origin(asked)
        except ValueError:
            return None
        if "@" in asked.netloc or not _plain(asked.path):
            return None
        for source in self._sources:
            known = urlsplit(source.prefix)
            if origin == _origin(known) and asked.path.startswith(known.path):
                return source
        return None


async def _content(answer: httpcore2.Response, room: Room) -> bytes:
    if 300 <= answer.status < 400:
        raise NotFetched("the address redirects, and redirects are not followed")
    if answer.status != 200:
        raise NotFetched(f"the address answers {answer.status}")
    if any(name.lower() == b"content-encoding" for name, _ in answer.headers):
        raise NotFetched("the address answers in a content-encoding, and none was asked for")
    content = bytearray()
    async for part in answer.aiter_stream():
        room.left -= len(part)
        if room.left < 0:
            raise NotFetched("it has more bytes than a request may bring")
        content += part
    return bytes(content)


def _origin(url: SplitResult) -> tuple[str, str, int | None]:
    """Scheme, host and port, however they are written. Raises ValueError."""
    host = url.hostname or ""
    if ":" in host:
        host = str(IPv6Address(host))
    return url.scheme, host, url.port or _PORTS.get(url.scheme)


def _plain(path: str) -> bool:
    """Whether a path means the same to whoever decodes it how often and whenever, cuts off what
    servers of Java call parameters (``..;x``), or writes other letters for the same (NFKC)."""
    for segment in path.split("/"):
        meant = normalize("NFKC", unquote(segment, errors="replace"))
        if any(c in "/\\%\ufffd" or c < " " for c in meant):
            return False
        name = meant.partition(";")[0]
        if meant and "." in name and not name.strip(". "):
            return False
    return True


class _Looking(httpcore2.AsyncNetworkBackend):
    """Connects to an address only after a look at it, and to no other: a name that resolves
    differently the next time (DNS rebinding) gains nothing."""

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
        """A connection to the host's first address; raises NotFetched where any is forbidden."""
        async with asyncio.timeout(timeout):
            addresses = await self._resolve(host, port)
        if not addresses or not all(may_reach(one, self._private) for one in addresses):
            raise NotFetched("the address leads to where this server may not read")
        return await self._inner.connect_tcp(
            addresses[0], port, timeout, local_address, socket_options
        )


def may_reach(address: str, private: bool) -> bool:
    """Whether an IP address may be connected to: any global one, and ``private`` ones (with
    loopback) where that is said. Link-local ones, where clouds keep credentials, never."""
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
