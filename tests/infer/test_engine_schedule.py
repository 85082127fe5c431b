"""The order of work, by hand, step by step: who reads how much, who waits, who gives way. No torch."""

import subprocess
import sys

import pytest

from viva.base.errors import Refusal
from viva.infer.engine.blocks import Blocks
from viva.infer.engine.request import Request
from viva.infer.engine.schedule import Limits, State, plan


def state_of(blocks: int, *requests: Request, size: int = 4) -> State:
    state = State(Blocks(blocks + 1, size))
    state.waiting.extend(requests)
    return state


def worked(state: State, limits: Limits, token: int = 50) -> list[tuple[int, int, int]]:
    """Plan a step and do it, `token` written by each that is scored: (request, tokens read, places scored)."""
    step = plan(state, limits)
    for work in step.work:
        work.request.computed_to(work.request.computed + work.tokens, state.blocks)
        if work.scored:
            work.request.tokens.append(token)
    return [(work.request.number, work.tokens, work.scored) for work in step.work]


def test_prompts_are_read_in_chunks_beside_what_is_written():
    """Prompts of 3 and of 9, at most 5 tokens a step and 4 of a request: what runs goes first, then prompts."""
    state = state_of(10, Request(0, [1, 2, 3], 5), Request(1, list(range(10, 19)), 5))
    limits = Limits(rows=8, tokens=5, chunk=4)
    assert worked(state, limits) == [(0, 3, 1), (1, 2, 0)]
    assert worked(state, limits) == [(0, 1, 1), (1, 4, 0)]
    assert worked(state, limits) == [(0, 1, 1), (1, 3, 1)]
    assert worked(state, limits) == [(0, 1, 1), (1, 1, 1)]
    assert state.blocks.used == 2 + 3  # of 6 tokens and of 10


def test_no_more_requests_run_than_there_are_rows():
    state = state_of(10, *(Request(number, [1], 5) for number in range(3)))
    assert worked(state, Limits(rows=2)) == [(0, 1, 1), (1, 1, 1)]
    assert [request.number for request in state.waiting] == [2]
    state.drop(state.running[0])
    assert worked(state, Limits(rows=2)) == [(1, 1, 1), (2, 1, 1)]


def test_the_last_to_come_gives_its_blocks_to_the_first():
    """Three blocks of 4: request 0 holds one and request 1 two, until request 0 writes its fifth token."""
    state = state_of(3, Request(0, [1, 2], 9), Request(1, [3, 4, 5, 6, 7], 9), Request(2, [8], 9))
    limits = Limits()
    assert worked(state, limits) == [(0, 2, 1), (1, 5, 1)]
    assert worked(state, limits) == [(0, 1, 1), (1, 1, 1)]
    assert worked(state, limits) == [(0, 1, 1), (1, 1, 1)]
    step = plan(state, limits)
    assert [(w.request.number, w.tokens) for w in step.work] == [(0, 1)]
    assert [request.number for request in step.preempted] == [1] and state.preempted == 1
    waits, later = state.waiting
    assert later.number == 2  # it came later still
    assert (waits.table, waits.computed, waits.tokens) == ([], 0, [50, 50, 50])
    # request 0 ended; its blocks do, and the one that was full and nobody took is found again
    state.drop(state.running[0])
    assert worked(state, limits) == [(1, 4, 1), (2, 1, 1)]
    assert (waits.computed, state.hits, state.misses) == (8, 4, 2 + 5 + 4 + 1)


def test_a_request_without_a_block_for_itself_waits():
    state = state_of(2, Request(0, [1] * 7, 2), Request(1, [2], 2))
    assert worked(state, Limits()) == [(0, 7, 1)]
    assert [request.number for request in state.waiting] == [1] and not state.preempted
    assert worked(state, Limits()) == [(0, 1, 1)]
    state.drop(state.running[0])
    assert worked(state, Limits()) == [(1, 1, 1)]


def test_who_shares_a_prompt_waits_until_it_is_read():
    """Prompts of 9 in blocks of 4: the leader reads all, the other one the last token, behind two blocks it finds."""
    prompt = list(range(9))
    leader = Request(0, prompt, 5)
    state = state_of(10, leader, Request(1, prompt, 5, leader=leader))
    limits = Limits(chunk=6)
    assert worked(state, limits) == [(0, 6, 0)]
    assert worked(state, limits) == [(0, 3, 1)]
    assert worked(state, limits) == [(0, 1, 1), (1, 1, 1)]
    assert state.running[0].table[:2] == state.running[1].table[:2]
    assert (state.hits, state.misses, state.blocks.used) == (8, 10, 4)


def test_who_shares_a_prompt_with_one_that_is_gone_reads_it():
    leader = Request(0, [1, 2], 5)
    state = state_of(10, leader, Request(1, [1, 2], 5, leader=leader))
    leader.ended = True
    state.drop(leader)
    assert worked(state, Limits()) == [(1, 2, 1)]


def test_nothing_is_shared_between_models():
    state = state_of(10, Request(0, [1] * 9, 5, "french"))
    worked(state, Limits())
    state.waiting.append(Request(1, [1] * 9, 5, "german"))
    state.waiting.append(Request(2, [1] * 9, 5, "french"))
    assert worked(state, Limits()) == [(0, 1, 1), (1, 9, 1), (2, 1, 1)]
    assert not set(state.running[0].table) & set(state.running[1].table)


def test_guesses_are_read_where_there_is_room_for_them():
    """Two written tokens and guesses of three: read and scored as far as the step goes; given up before a block is."""
    state = state_of(3, Request(0, [1, 2], 9), Request(1, [3, 4], 9))
    worked(state, Limits())
    for request in state.running:
        request.draft = [7, 8, 9]
    step = plan(state, Limits(tokens=4, chunk=3))
    assert [(w.request.number, w.tokens, w.scored) for w in step.work] == [(0, 3, 3), (1, 1, 1)]
    for request in state.running:
        request.draft = [7, 8, 9]
    step = plan(state, Limits())  # 2 + 4 tokens each would need two blocks each, of three
    assert [(w.request.number, w.tokens, w.scored) for w in step.work] == [(0, 4, 4), (1, 1, 1)]
    assert not step.preempted and state.running[1].draft == []


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"tokens": -1}, {"chunk": 0}])
def test_a_step_must_be_able_to_do_something(wrong):
    with pytest.raises(Refusal, match=r"every limit of a step must be 1 or more, but found (rows 0|tokens -1|chunk 0)"):
        Limits(**wrong)


def test_accounting_needs_no_torch():
    names = ", ".join(f"viva.infer.engine.{name}" for name in ("asked", "blocks", "counters", "request", "schedule"))
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
