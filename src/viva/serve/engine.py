"""An engine: a model with a thread of its own (`worker.py`), for callers of any kind."""

import asyncio
import queue
import warnings
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from viva import api
from viva.api import LanguageModel, Prompt
from viva.base import machine, product, threads
from viva.base.choice import Choice
from viva.base.config import Config, parse
from viva.base.errors import Notice, Refusal
from viva.base.measure import Verdict
from viva.infer.engine import company
from viva.infer.engine.asked import Asked
from viva.infer.engine.counters import Counters
from viva.infer.engine.draft._drafter import Drafter
from viva.infer.engine.engine import Core, Delta
from viva.infer.engine.schedule import Limits
from viva.infer.engine.served import reach, require_served
from viva.infer.generate import tell_full
from viva.serve import memory
from viva.serve.bar import Bar
from viva.serve.reply import Gathered, Reply
from viva.serve.worker import Put, Worker
from viva.text.tokens.characters import require_list

AHEAD = 2  # times as many requests as are worked on: none waits for the next to be read


class Engine:
    """A model, and adapters of it, for many callers at a time: `with viva.Engine("runs/quickstart") as engine: ...`

    `adapters` are folders by the names under which requests ask for them. `tokens` is the room for keys and values;
    left out, what memory holds (`plan`). A request's fields are those of `infer.engine.asked.Asked`; adapter="name" is
    one more. The reply to it does not depend on the others.

    `draft` says how tokens are guessed, which makes replies faster and changes none: "ngram", or {"kind": "model",
    "model": FOLDER} (`infer/engine/draft`). `threads` compute on a CPU; left out, as many as OMP_NUM_THREADS says or
    are measured to be the fastest.
    """

    def __init__(
        self,
        model: LanguageModel | str | Path,
        adapters: Mapping[str, str | Path] | None = None,
        *,
        tokens: int | None = None,
        block: int = 16,
        rows: int = 64,
        step: int = 512,
        chunk: int = 256,
        draft: Config | dict[str, Any] | str | None = None,
        threads: int | None = None,
    ):
        if block < 1:
            raise Refusal("a block must have room for a token", block, "give it a larger number")
        self.model = model if isinstance(model, LanguageModel) else api.load(model)
        require_served(self.model.model)
        self.models = {"": self.model}
        for name, folder in (adapters or {}).items():
            self.models[name] = self.model.with_adapter(folder)
        limits = Limits(rows, step, chunk)
        drafter = _drafter(draft, self.model)
        models = {name: loaded.model for name, loaded in self.models.items()}
        others = [*models.values(), *([] if self.model.base is None else [self.model.base.model])]
        self.plan = memory.plan(
            self.model.model, limits, tokens, beside=drafter and drafter.model, block=block, others=others
        )
        machine.keep_freed_memory()
        self._packed = self._pack() if self.plan.packed else []
        self.threads = _threads(self.model, threads)
        self.core = Core(models, self.model.tokenizer, self.plan.tokens // block + 1, block, limits, drafter)
        self._worker = Worker(self.core, int(self.threads.name))
        # Python ends threads wherever they are, and a process whose thread is inside torch then aborts
        weakref.finalize(self, self._worker.close)

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether requests are worked on."""
        return self._worker.alive

    @property
    def counters(self) -> Counters:
        """What there is to do, what it takes, and what was saved."""
        return self.core.counters

    def notes(self) -> list[str]:
        """How it was set up, in sentences for the user: memory, number format, threads, and what company does."""
        weight = self.model.model.embedding.weight
        dtype = str(weight.dtype).removeprefix("torch.")
        kept = product.exact(weight) and company.harmless_to(self.model.model)
        told = "replies have the same bits in any company"
        told = told if kept else "the last bits of a reply may depend on what is served beside it"
        return [str(self.plan), f"{dtype}, {threads.told(self.threads)}", told]

    def ids(self, prompt: Prompt | list[int], tools: list[dict] | None = None, adapter: str = "") -> list[int]:
        """What the model reads of a prompt: a text, messages, or ids as they are."""
        if isinstance(prompt, list) and prompt and isinstance(prompt[0], int):
            return prompt
        return self._loaded(adapter).ids(prompt, tools)

    def room(self, adapter: str = "") -> int:
        """How many tokens a prompt and the reply to it may have, but for the reply's last, which is not read."""
        blocks = self.core.state.blocks
        return min(reach(self._loaded(adapter).model), (blocks.count - 1) * blocks.size)

    def submit(self, ids: list[int], asked: Asked, put: Put, adapter: str = "") -> "Future[list[int]]":
        """Ask for replies to a prompt; their numbers come when the request is taken in, or the refusal of it. `put` is
        then called with each delta, from the engine's thread: it must not wait.
        """
        return self._worker.submit(ids, asked, put, adapter)

    def require(self, ids: list[int], asked: Asked, adapter: str = "") -> None:
        """Refuse what `submit` would refuse; nothing is asked for."""
        self._worker.require(ids, asked, adapter)

    def cancel(self, numbers: Sequence[int]) -> None:
        """Nobody waits for these replies any more; their blocks are free before the next step. An engine that was
        closed has none.
        """
        self._worker.cancel(numbers)

    def deltas(self, prompt: Prompt | list[int], adapter: str = "", **asked: Any) -> Iterator[Delta]:
        """The steps of a reply as they come, or of `n` replies, which their numbers tell apart. An iterator that is
        closed before its end takes the request back.
        """
        chosen = parse(Asked, asked, name="asked")
        come: queue.SimpleQueue[Delta] = queue.SimpleQueue()
        numbers = self.submit(self.ids(prompt, adapter=adapter), chosen, come.put, adapter).result()
        open_ = set(numbers)
        try:
            while open_:
                delta = come.get()
                open_ -= {delta.number} if delta.finish else set()
                yield delta
        finally:
            if open_:
                self.cancel(sorted(open_))

    def stream(self, prompt: Prompt | list[int], adapter: str = "", **asked: Any) -> Iterator[str]:
        """The text of one reply in pieces of whole characters. Refused: several, which would be one text; and, behind
        the pieces that came before, to go on with one that failed.
        """
        if (n := parse(Asked, asked, name="asked").n) > 1:
            fix = "call generate, or deltas, whose numbers tell replies apart"
            raise Refusal("a stream must be of one reply", f"n={n}", fix)
        for delta in self.deltas(prompt, adapter, **asked):
            if delta.error:
                fix = "ask once more; where that fails too, load the model in float32, or load an intact one"
                raise Refusal("a reply must be written to its end", delta.error, fix)
            if delta.text:
                yield delta.text
            if delta.full:
                tell_full(1, delta.full)

    def generate(
        self, prompts: Sequence[Prompt | list[int]], adapter: str = "", progress: bool = False, **asked: Any
    ) -> list[Reply]:
        """The replies to many prompts, `n` to each, in their order; each prompt has a stream of the seed of its own
        request, so that equal prompts are given equal replies where there is a seed. `progress` shows how far it is.

        One that failed is among them, with `finish` "error" and the sentence `error`; a Notice says so.
        """
        chosen = parse(Asked, asked, name="asked")
        asks = [(self.ids(prompt, adapter=adapter), chosen, adapter) for prompt in require_list(prompts, "prompts")]
        found: dict[int, list[Reply]] = {}
        bar = Bar("replies", len(asks) * chosen.n, shown=progress)
        with bar, closing(self.ended(asks, bar.take)) as ended:
            for place, replies in ended:
                found[place] = replies
        replies = [reply for place in range(len(asks)) for reply in found[place]]
        for what, count in Counter(reply.full for reply in replies if reply.full).items():
            tell_full(count, what)
        if failed := [number for number, reply in enumerate(replies) if reply.error]:
            which = f"the first to prompt {failed[0] // chosen.n}: {replies[failed[0]].error}"
            warnings.warn(Notice(f"{len(failed):,} of {len(replies):,} replies failed, {which}"), stacklevel=2)
        return replies

    def ended(
        self,
        asks: Iterable[tuple[list[int], Asked, str]],
        watch: Callable[[Delta], None] = lambda delta: None,
    ) -> Iterator[tuple[int, list[Reply]]]:
        """(place, the `n` replies) of each of many prompts, as they end, failed ones too; each comes with what is asked
        and the name of an adapter, "" for none. `watch` is shown each delta.

        The next prompts are read when there is work for them. An iterator that is closed takes its requests back.
        """
        asks = asks if isinstance(asks, Iterator) else require_list(asks, "asks")
        come: queue.SimpleQueue[Delta] = queue.SimpleQueue()
        rest, open_, taken = enumerate(asks), {}, []
        try:
            while True:
                some = islice(rest, max(0, AHEAD * self.core.limits.rows - len(open_)))
                taken = [(place, len(ask[0]), self.submit(*ask[:2], come.put, ask[2])) for place, ask in some]
                for place, length, future in taken:
                    numbers = future.result()
                    open_ |= dict.fromkeys(numbers, Gathered(place, length, numbers))
                if not open_:
                    return
                delta = come.get()
                watch(delta)
                gathered = open_[delta.number]
                if delta.finish:
                    del open_[delta.number]
                if gathered.take(delta):
                    yield gathered.place, gathered.replies
        finally:
            self.cancel(sorted(open_))
            for *_, future in taken:
                future.add_done_callback(self._worker.cancel_taken)

    async def adeltas(self, prompt: Prompt | list[int], adapter: str = "", **asked: Any) -> AsyncIterator[Delta]:
        """As `deltas`, for asyncio."""
        chosen = parse(Asked, asked, name="asked")
        loop, come = asyncio.get_running_loop(), asyncio.Queue()

        def put(delta: Delta) -> None:
            with suppress(RuntimeError):  # the loop has ended: there is nobody to be told
                loop.call_soon_threadsafe(come.put_nowait, delta)

        taken = self.submit(self.ids(prompt, adapter=adapter), chosen, put, adapter)
        try:
            open_ = set(await asyncio.wrap_future(taken))
        except asyncio.CancelledError:
            taken.add_done_callback(self._worker.cancel_taken)
            raise
        try:
            while open_:
                delta = await come.get()
                open_ -= {delta.number} if delta.finish else set()
                yield delta
        finally:
            if open_:
                self.cancel(sorted(open_))

    def close(self) -> None:
        """Stop; requests that are not done end with an error."""
        self._worker.close()
        for weight in self._packed:
            product.unpack(weight)

    def _pack(self) -> list[Tensor]:
        """Lay the matrices out as they are multiplied the fastest; those that are."""
        weights = memory.packable(self.model.model)
        for weight in weights:
            product.pack(weight)
        return weights

    def _loaded(self, adapter: str) -> LanguageModel:
        if adapter not in self.models:
            fix = f"use one of {sorted(self.models)}, or load it under this name"
            raise Refusal("an adapter must be one that is loaded", repr(adapter), fix)
        return self.models[adapter]


class _Drafting(Config):
    draft: Choice("viva.infer.engine.draft")


def _drafter(draft: Config | dict[str, Any] | str | None, model: LanguageModel) -> Drafter | None:
    """What guesses tokens for `model`."""
    if draft is None:
        return None
    chosen = parse(_Drafting, {"draft": draft}, name="engine").draft
    return chosen.build(model.spec, lambda name: api.load(name).model)


def _threads(model: LanguageModel, told: int | None) -> Verdict:
    """With how many threads `model` is computed, and why."""
    matrices = [weight for weight in model.model.parameters() if weight.ndim == 2 and weight.is_floating_point()]
    return threads.choose(matrices, told)
