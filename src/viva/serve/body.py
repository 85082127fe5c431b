"""The body of a request, read whole before anybody looks at it: within a number of bytes and of seconds."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from viva.serve.errors import Trouble, closing

LINGER = 5.0  # seconds in which what is refused is still read, and thrown away: the client then reads the answer
AT_END = 1.0  # as many where the server ends


class Body:
    """ASGI middleware: 413 for a body of more than `most` bytes, 408 for one that takes over `patience` seconds, 503
    for one that is not there when the server is `ending`.
    """

    def __init__(self, app: ASGIApp, most: int, patience: float, ending: asyncio.Event):
        self.app, self.most, self.patience, self.ending = app, most, patience, ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            body = await self._unless_ending(self._read(scope, receive))
        except Trouble as trouble:
            await refuse(trouble, scope, receive, send)
            return
        if body is None:
            return  # the client has left
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, send)

    async def _unless_ending(self, read: Coroutine[Any, Any, bytes | None]) -> bytes | None:
        """What is read; nobody would look at it where the server ends before."""
        reading, ending = asyncio.ensure_future(read), asyncio.ensure_future(self.ending.wait())
        try:
            await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                raise closing()
            return reading.result()
        finally:
            reading.cancel()
            ending.cancel()

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told) > self.most:
            raise self._too_large(int(told))
        body = bytearray()
        try:
            async with asyncio.timeout(self.patience):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > self.most:
                        raise self._too_large(len(body))
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise Trouble(408, f"a request must be sent within {self.patience:g} s", code="request_timeout") from None

    def _too_large(self, found: int) -> Trouble:
        message = f"a request must be at most {self.most:,} bytes, but has {found:,} or more"
        return Trouble(413, message, code="request_too_large")


async def refuse(trouble: Trouble, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer before all is read, then read on for a while: a connection that is closed while the client sends takes the
    answer with it.
    """
    answer, body = trouble.response(scope), trouble.body
    answer.headers["Connection"] = "close"
    linger = AT_END if trouble.fault.code == "shutting_down" else LINGER
    await send({"type": "http.response.start", "status": trouble.status, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(linger):
            while (await receive()).get("more_body"):
                pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})
