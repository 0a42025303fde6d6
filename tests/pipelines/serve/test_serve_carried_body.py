"""Bodies that travel inside the request: nothing is lost or read twice, whatever the body is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope

from pipelines.serve.http import carried_body
from pipelines.serve.http.carried_body import carried, carry
from pipelines.serve.proxy import Envelopes

GONE: Message = {"type": "http.disconnect"}


def part(body: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def scope_of(*headers: tuple[bytes, bytes]) -> Scope:
    return {"type": "http", "path": "/v1/extract", "headers": list(headers)}


class Receiving:
    """Stands for Serve's receive in the ingress: gives its messages, then a disconnect."""

    def __init__(self, *messages: Message, slow: float = 0.0) -> None:
        self._messages, self._slow, self.asked = list(messages), slow, 0

    async def __call__(self) -> Message:
        await asyncio.sleep(self._slow)
        return self._messages.pop(0) if self._messages else GONE

    async def _receive_asgi_messages(self, request: object) -> object:
        self.asked += 1
        return request


async def bodies(receive: Receive) -> list[Message]:
    found = [await receive()]
    while found[-1] != GONE:
        found.append(await receive())
    return found


def test_a_small_body_travels_in_the_scope_and_stays_where_serve_expects_it() -> None:
    async def scenario() -> None:
        for headers in ([(b"content-length", b"3")], []):
            scope = scope_of(*headers)
            whole = part(b"abc" if headers else b"")
            rest = await carry(scope, Receiving(whole))
            # Serve's proxy takes all of it, and the ingress sees the body once.
            held = await bodies(rest)
            assert held == [whole, GONE]
            assert await bodies(carried(scope, Receiving(*held))) == [whole, GONE]
            assert set(scope) == {"type", "path", "headers"}, "the application sees none of it"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("headers", "messages", "slow"),
    [
        ([(b"content-length", b"64001")], [part(b"x" * 64_001)], 0.0),
        ([(b"content-length", b"6")], [part(b"abc", more=True), part(b"def")], 0.0),
        ([(b"transfer-encoding", b"chunked")], [part(b"abc")], 0.0),
        ([(b"content-length", b"-1")], [part(b"abc")], 0.0),
        ([(b"content-length", b"3")], [], 0.0),
        ([(b"content-length", b"3")], [part(b"abc")], 0.05),
    ],
    ids=["large", "in parts", "of unknown length", "of no length", "gone", "slow"],
)
def test_any_other_body_goes_its_old_way(
    headers: list[tuple[bytes, bytes]], messages: list[Message], slow: float
) -> None:
    async def scenario() -> None:
        scope = scope_of(*headers)
        held = await bodies(await carry(scope, Receiving(*messages, slow=slow)))
        assert held == [*messages, GONE]
        receive = Receiving(*held)
        assert carried(scope, receive) is receive

    asyncio.run(scenario())


def test_the_proxy_is_asked_for_a_disconnect_after_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(carried_body, "_WATCH_AFTER_S", 0.05)

    async def scenario() -> None:
        scope, receive = scope_of((b"content-length", b"3")), Receiving()
        await carry(scope, Receiving(part(b"abc")))
        carried(scope, receive)
        fetching = asyncio.create_task(receive._receive_asgi_messages("request"))
        await asyncio.sleep(0)
        assert receive.asked == 0
        assert await fetching == "request"
        assert receive.asked == 1

    asyncio.run(scenario())


def test_the_proxy_carries_bodies_of_the_api_alone() -> None:
    async def scenario() -> None:
        seen: list[Scope] = []

        async def app(scope: Scope, receive: Receive, send: Any) -> None:
            seen.append(dict(scope))
            assert await receive() == part(b"abc")

        for path in ("/v1/extract", "/other"):
            scope = {**scope_of((b"content-length", b"3")), "path": path}
            await Envelopes(app)(scope, Receiving(part(b"abc")), None)  # type: ignore[arg-type]
        assert ["medspan.body" in one for one in seen] == [True, False]

    asyncio.run(scenario())
