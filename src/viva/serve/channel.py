"""The replies to one request, on their way from the engine's thread to asyncio's."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import Future

from viva.base.errors import Refusal
from viva.infer.engine.asked import Asked
from viva.infer.engine.engine import Delta
from viva.serve.engine import Engine
from viva.serve.errors import Trouble


class Channel:
    """Deltas in the order in which they come, of which `most` may wait to be read. Made, and read, in asyncio's thread.

    A reader that falls further behind gets no more: nothing grows because somebody reads slowly.
    """

    def __init__(self, engine: Engine, most: int):
        self._engine, self._most = engine, most
        self._loop = asyncio.get_running_loop()
        self._come: deque[Delta] = deque()
        self._more = asyncio.Event()
        self._open: set[int] = set()
        self._trouble: Trouble | None = None

    async def ask(self, ids: list[int], asked: Asked, adapter: str) -> list[int]:
        """Ask the engine; the numbers of the replies, or its Refusal."""
        told = self._engine.submit(ids, asked, self._put, adapter)
        try:
            numbers = await asyncio.wrap_future(told)
        except asyncio.CancelledError:
            told.add_done_callback(self._unwanted)
            raise
        self._open |= set(numbers)
        return numbers

    async def __aiter__(self) -> AsyncIterator[Delta]:
        """Each delta until all replies have ended; what ended them before is raised."""
        while self._open or self._trouble is not None:
            while not self._come and self._trouble is None:
                self._more.clear()
                await self._more.wait()
            if self._trouble is not None:
                raise self._trouble
            delta = self._come.popleft()
            if delta.finish:
                self._open.discard(delta.number)
            yield delta

    def end(self, trouble: Trouble) -> None:
        """Write no more; the reader is told why."""
        self._trouble = self._trouble or trouble
        self._come.clear()
        self.close()
        self._more.set()

    def close(self) -> None:
        """Nobody reads any more: the engine forgets what has not ended."""
        open_, self._open = self._open, set()
        if open_ and self._engine.alive:
            with contextlib.suppress(Refusal):  # it may have ended just now
                self._engine.cancel(sorted(open_))

    def _put(self, delta: Delta) -> None:
        """In the engine's thread."""
        with contextlib.suppress(RuntimeError):  # the server has ended: there is nobody to be told
            self._loop.call_soon_threadsafe(self._take, delta)

    def _take(self, delta: Delta) -> None:
        if self._trouble is not None:
            return
        if len(self._come) >= self._most:
            self.end(Trouble(408, f"the client fell {self._most} events behind", code="slow_reader"))
            return
        self._come.append(delta)
        self._more.set()

    def _unwanted(self, told: "Future[list[int]]") -> None:
        """Whoever asked has left before the answer."""
        if not told.cancelled() and told.exception() is None:
            self._engine.cancel(told.result())
