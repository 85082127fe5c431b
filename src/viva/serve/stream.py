"""Server-sent events, as OpenAI's API sends them (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from viva.serve.errors import Trouble

DONE = b"data: [DONE]\n\n"
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the latter asks nginx to pass on what comes

T = TypeVar("T")


def event(said: BaseModel) -> bytes:
    """An event of JSON."""
    return b"data: " + said.model_dump_json().encode() + b"\n\n"


def error(trouble: Trouble) -> bytes:
    """The event that ends a stream which cannot go on; no [DONE] follows."""
    return b"data: " + trouble.body + b"\n\n"


async def unless_left(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` gives; it is cancelled when the client leaves before, and the answer is None."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Events(Response):
    """Events until there are no more, the client leaves or takes none in `patience` seconds; then `close` is run, with
    what went wrong.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], patience: float, close: Callable[[Trouble | None], None]):
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self.events, self.patience, self.close = events, patience, close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        slow = None
        try:
            await unless_left(receive, self._send(send))
        except TimeoutError:  # the connection is closed without an end
            slow = Trouble(408, f"the client took no event for {self.patience:g} s", code="slow_reader")
        finally:
            self.close(slow)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self.events) as events:
            async for each in events:
                async with asyncio.timeout(self.patience):
                    await send({"type": "http.response.body", "body": each, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
