"""The thread that works on requests: whoever asks hands them to it, and is called back with each delta."""

import queue
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from viva.base import threads
from viva.base.errors import Notice, Refusal
from viva.infer.engine.asked import Asked
from viva.infer.engine.engine import Core, Delta

Put = Callable[[Delta], None]
T = TypeVar("T")


class Worker:
    """It steps `core` as long as there is something to do, computing with so many threads of a CPU."""

    def __init__(self, core: Core, computing: int):
        self.core, self._computing = core, computing
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._puts: dict[int, Put] = {}
        self._open, self._opening = True, threading.Lock()
        self._compiler = ThreadPoolExecutor(1, thread_name_prefix="viva forms")
        self._thread = threading.Thread(target=self._loop, name="viva engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether requests are worked on."""
        return self._thread.is_alive()

    def submit(self, ids: list[int], asked: Asked, put: Put, adapter: str = "") -> "Future[list[int]]":
        """Have a request taken in, and `put` called with each delta, in this thread (`Engine.submit`)."""

        def take() -> list[int]:
            numbers = self.core.add(ids, asked, adapter)
            self._puts |= dict.fromkeys(numbers, put)
            return numbers

        return self._admitted(asked, take)

    def require(self, ids: list[int], asked: Asked, adapter: str = "") -> None:
        """Refuse what `submit` would refuse (`Engine.require`)."""

        def take() -> None:
            for number in self.core.add(ids, asked, adapter):
                self.core.drop(number)

        self._admitted(asked, take).result()

    def cancel(self, numbers: Sequence[int]) -> None:
        """Forget these replies before the next step, if there is still one (`Engine.cancel`)."""

        def forget() -> None:
            for number in numbers:
                self.core.drop(number)
                self._puts.pop(number, None)

        if self._open:  # a stream that is left behind as Python ends finds no names of this module any more
            with suppress(Refusal):  # closed meanwhile
                self._send(forget)

    def cancel_taken(self, taken: "Future[list[int]]") -> None:
        """Take back what was asked for, now that its numbers are known, if it was taken in."""
        if not taken.cancelled() and taken.exception() is None:
            self.cancel(taken.result())

    def close(self) -> None:
        """Stop; requests that are not done end with an error."""
        if self.alive:
            self._inbox.put(None)
            if self._thread is not threading.current_thread():  # where an engine is collected
                self._thread.join()
        self._open = False  # where it was forked its thread cannot say so
        self._compiler.shutdown(wait=False)

    def _admitted(self, asked: Asked, take: Callable[[], T]) -> "Future[T]":
        """What `take` gives in the engine's thread. The form of a reply, if it has one, is compiled before, in a thread
        of its own, so that no step waits for it.
        """
        told: Future[T] = Future()

        def entered() -> None:
            if not told.set_running_or_notify_cancel():
                return  # whoever asked has left before
            try:
                told.set_result(take())
            except Exception as error:
                told.set_exception(error)

        def compiled() -> None:
            try:
                self.core.compile(asked)
                self._send(entered)
            except Exception as error:
                if told.set_running_or_notify_cancel():
                    told.set_exception(error)

        if asked.form is None or not self._open:
            self._send(entered)
        else:
            self._require_here()
            try:
                self._compiler.submit(compiled)
            except RuntimeError:  # Python is ending, and begins no more threads
                must, fix = "an engine must be asked for a form while Python runs", "ask before the main thread ends"
                raise Refusal(must, "a process that is ending", fix) from None
        return told

    def _require_here(self) -> None:
        """Refuse in a process that was forked: it has no thread that would do anything."""
        if not self.alive and self._open:  # in this order: a thread that ends says so before
            fix = "make one there, or fork before"
            raise Refusal("an engine must be asked in the process that made it", "a process that was forked", fix)

    def _send(self, command: Callable[[], None]) -> None:
        self._require_here()
        with self._opening:
            if not self._open:
                raise Refusal("an engine must be open to be asked", "one that is closed", "make another")
            self._inbox.put(command)

    def _loop(self) -> None:
        """Commands first, then a step; sleep where there is neither."""
        why = "the engine was closed"
        try:
            with threads.using(self._computing):
                while self._obey():
                    for delta in self.core.step():
                        self._tell(delta)
        except BaseException as error:
            why = f"the engine broke: {type(error).__name__}: {error}"
            raise
        finally:
            with self._opening:
                self._open = False
            while not self._obey(wait=False):  # who asked just before is taken in, and told like the others
                pass
            for number in list(self._puts):
                self._tell(Delta(number, "", None, "error", why))

    def _tell(self, delta: Delta) -> None:
        """Hand a delta on; whoever cannot take it is not told any more, and the others are."""
        put = self._puts.pop(delta.number, None) if delta.finish else self._puts.get(delta.number)
        if put is None:
            return
        try:
            put(delta)
        except Exception as error:
            self._puts.pop(delta.number, None)
            self.core.drop(delta.number)
            text = f"request {delta.number} was dropped, since nobody took its reply: {type(error).__name__}: {error}"
            warnings.warn(Notice(text), stacklevel=2)

    def _obey(self, wait: bool = True) -> bool:
        """Do all that was sent, waiting for something where there is nothing else to do; False where it is to end."""
        while True:
            try:
                command = self._inbox.get(block=wait and self.core.idle)
            except queue.Empty:
                return True
            if command is None:
                return False
            command()
