"""What is read in the next step: one token of each request that writes, and of prompts as much as there is room for.

Continuous batching (Yu et al. 2022, Orca) with prompts in chunks beside it (Agrawal et al. 2023,
https://arxiv.org/abs/2308.16369). No torch: the state is passed in, and changed.
"""

from collections import deque
from dataclasses import dataclass, field

from viva.base.errors import Refusal
from viva.infer.engine.blocks import Blocks
from viva.infer.engine.request import Request


@dataclass(frozen=True)
class Limits:
    """`rows`: requests at once. `tokens`: read in a step, by all together. `chunk`: of one request."""

    rows: int = 64
    tokens: int = 512
    chunk: int = 256

    def __post_init__(self):
        if least := [f"{field} {value}" for field, value in vars(self).items() if value < 1]:
            raise Refusal("every limit of a step must be 1 or more", ", ".join(least), "give it a larger number")


@dataclass
class State:
    """Requests that wait, in the order in which they came, and those that run, which hold blocks.

    Counted since the beginning: tokens that were found when a request began (`hits`), or had to be read (`misses`), and
    how often one was `preempted`.
    """

    blocks: Blocks
    waiting: deque[Request] = field(default_factory=deque)
    running: list[Request] = field(default_factory=list)
    hits: int = 0
    misses: int = 0
    preempted: int = 0

    def wait(self, request: Request) -> None:
        """Have a request wait behind those that came before it."""
        later = next((i for i, other in enumerate(self.waiting) if other.number > request.number), len(self.waiting))
        self.waiting.insert(later, request)

    def stop(self, request: Request) -> None:
        """Take the blocks of a request that runs; it waits again."""
        self.running.remove(request)
        request.release(self.blocks)
        self.wait(request)

    def drop(self, request: Request) -> None:
        """Let go of a request, wherever it stands."""
        if request in self.running:
            self.running.remove(request)
        else:
            self.waiting.remove(request)
        request.release(self.blocks)


@dataclass(frozen=True)
class Work:
    """So many tokens of a request, from the first that is not in the cache; `scored` of the last ones tell the next."""

    request: Request
    tokens: int
    scored: int


@dataclass
class Step:
    """The work of a step, and the requests that had to give up their blocks for it."""

    work: list[Work] = field(default_factory=list)
    preempted: list[Request] = field(default_factory=list)


def plan(state: State, limits: Limits) -> Step:
    """Requests that run come first, in their order; one without a block for its next tokens takes those of the request
    that came last, which waits again. Then requests that wait begin, in their order, as far as there is room.

    One that has read all its tokens has nothing to do: the next one of a beam is told by the others' scores.
    """
    step, room = Step(), limits.tokens
    for request in list(state.running):
        if request in state.running and room:
            room -= _run(state, request, min(room, limits.chunk), step)
    while state.waiting and room and not step.preempted:
        if not _may_begin(state.waiting[0]) or _rows(state, state.waiting[0]) > limits.rows:
            break
        request = state.waiting.popleft()
        request.resume(state.blocks)
        state.running.append(request)
        took = _begin(state, request, min(room, limits.chunk), step)
        if not took:
            break
        room -= took
    return step


def _may_begin(request: Request) -> bool:
    """Whether the prompt that it shares with a leader is read, or will not be."""
    return request.leader is None or request.leader.ended or bool(request.leader.tokens)


def _rows(state: State, request: Request) -> int:
    """How many rows a step may have if the request is in it."""
    return sum({other.number: other.width for other in (*state.running, request)}.values())


def _work(request: Request, room: int) -> Work:
    left = request.known - request.computed
    if left > room:
        request.draft = []
        return Work(request, room, 0)
    request.draft = request.draft[: room - left]
    return Work(request, left + len(request.draft), 1 + len(request.draft))


def _run(state: State, request: Request, room: int, step: Step) -> int:
    """Work for one that runs; how many tokens it reads."""
    if request.known == request.computed:
        return 0
    work = _granted(state, request, room, step)
    if work is None:
        _preempt(state, request, step)
        return 0
    step.work.append(work)
    return work.tokens


def _begin(state: State, request: Request, room: int, step: Step) -> int:
    """Work for one that has just begun; where there are no blocks for it, it waits again."""
    found = request.computed
    work = _granted(state, request, room, step)
    if work is None:
        state.stop(request)
        return 0
    state.hits += found
    state.misses += request.known - found
    step.work.append(work)
    return work.tokens


def _granted(state: State, request: Request, room: int, step: Step) -> Work | None:
    """Work for which the request holds blocks, taken from those that came later where there is need; None where none
    did.
    """
    while not hold(state.blocks, request, work := _work(request, room)):
        if request.draft:  # a guess is worth no block of another's
            request.draft = []
            continue
        last = max(reversed(state.running), key=lambda other: other.number)
        if last is request:
            return None
        _preempt(state, last, step)
    return work


def _preempt(state: State, request: Request, step: Step) -> None:
    state.stop(request)
    state.preempted += 1
    step.preempted.append(request)
    step.work = [work for work in step.work if work.request is not request]  # a beam that came earlier may begin later


def hold(blocks: Blocks, request: Request, work: Work) -> bool:
    """Whether the request holds, or could take, blocks for its work."""
    taken = blocks.take(max(0, blocks.needed(request.computed + work.tokens) - len(request.table)))
    if taken is None:
        return False
    request.table.extend(taken)
    return True
