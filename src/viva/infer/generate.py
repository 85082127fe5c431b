"""Replies to prompts: one as a stream of text, or many at once as tokens."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from viva.base.errors import Notice, Refusal
from viva.infer.decode import Decoding, require_sources
from viva.infer.sampling import Sampling
from viva.infer.stop import Guard
from viva.model.transformer import Transformer
from viva.text.tokens.tokenizer import Tokenizer

Finish = Literal["stop", "length"]
Watch = Callable[[Decoding, list[int]], None]


@dataclass(frozen=True)
class Piece:
    """A step of a reply: the token drawn and the text that became certain by it, "" inside a character.

    The last piece has a `finish`: "stop" (an id or a string that ends a reply) or "length" (no more tokens allowed);
    with "length" it has no token.
    """

    text: str
    token: int | None
    finish: Finish | None = None


def stream(
    model: Transformer,
    tokenizer: Tokenizer,
    prompt: list[int],
    sampling: Sampling,
    source: list[int] | None = None,
) -> Iterator[Piece]:
    """Continue `prompt`, piece by piece; a stop id or stop string ends the reply and is no part of its text.

    A model with an encoder reads `source` first.
    """
    _require_drawn(sampling)
    decoding = Decoding(model, {0: prompt}, sampling, source and {0: source})
    decoder, guard = tokenizer.stream(), Guard(sampling.stop)
    for _ in range(decoding.limit[0]):
        (token,) = decoding.step()
        if token in tokenizer.stops:
            yield Piece(guard.push(decoder.end()) + guard.end(), token, "stop")
            return
        text = guard.push(decoder.push(token))
        yield Piece(text, token, "stop" if guard.hit else None)
        if guard.hit:
            return
    tell_filled(model, int(decoding.filled(0)))
    yield Piece(guard.push(decoder.end()) + guard.end(), None, "length")


def generate_batch(
    model: Transformer,
    prompts: list[list[int]],
    sampling: Sampling,
    stops: frozenset[int] = frozenset(),
    rows: int = 64,
    sources: list[list[int]] | None = None,
    watch: Watch | None = None,
) -> list[list[int]]:
    """The tokens that follow each prompt, an id of `stops` at the end included; `rows` prompts are in work at a time.

    A model with an encoder reads for each the source at its place first. `watch` is shown each step: the decoding, with
    the scores that were drawn from, and the token of each of its rows.

    The reply to prompt i is the one it would get alone under the i-th stream of the seed, whatever stands beside it.
    """
    _require_drawn(sampling)
    require_sources(model, prompts, sources)
    if sampling.stop:
        fix = "end the replies by ids, or generate one by one"
        raise Refusal("stop strings must be left out for a batch of tokens", list(sampling.stop), fix)
    replies: dict[int, list[int]] = {i: [] for i in range(len(prompts))}
    filled = 0
    for taken in groups(prompts, sources, rows, alike=model.recalls):
        read = sources and {i: sources[i] for i in taken}
        decoding = Decoding(model, {i: prompts[i] for i in taken}, sampling, read)
        filled += _together(decoding, replies, stops, watch)
    tell_filled(model, filled)
    return [replies[i] for i in range(len(prompts))]


def _together(
    decoding: Decoding, replies: dict[int, list[int]], stops: frozenset[int], watch: Watch | None = None
) -> int:
    """Decode until every row has ended; how many of them ended because the context was full."""
    filled = 0
    while decoding.rows:
        tokens = decoding.step()
        if watch is not None:
            watch(decoding, tokens)
        for row, token in zip(decoding.rows, tokens, strict=True):
            replies[row].append(token)
        stopped = {row for row in decoding.rows if replies[row][-1] in stops}
        spent = {row for row in decoding.rows if decoding.made == decoding.limit[row]}
        filled += sum(decoding.filled(row) for row in spent - stopped)
        if stopped | spent:
            decoding.drop(stopped | spent)
    return filled


def groups(prompts: list[list[int]], sources: list[list[int]] | None, rows: int, alike: bool) -> Iterator[list[int]]:
    """The numbers of the prompts, `rows` at a time, those of like length side by side, so that rows waste no padding;
    `alike`, of one length and no other.
    """
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), len(sources[i]) if sources else 0))
    while order:
        length = len(prompts[order[0]])
        taken = [i for i in order[:rows] if not alike or len(prompts[i]) == length]
        yield taken
        order = order[len(taken) :]


def tell_filled(model: Transformer, filled: int) -> None:
    """Say how many replies ended because the context was full, if any did."""
    tell_full(filled, f"the model's context of {model.spec.context} tokens", stacklevel=4)


def tell_full(replies: int, what: str, stacklevel: int = 3) -> None:
    """Say how many replies ended because `what` is full, if any did."""
    if replies:
        which = "the reply" if replies == 1 else f"{replies} replies"
        warnings.warn(Notice(f"{which} ended because {what} is full"), stacklevel=stacklevel)


def _require_drawn(sampling: Sampling) -> None:
    if sampling.beams > 1:
        fix = "search with infer.beam.beam_search, or leave beams out"
        raise Refusal("replies that are drawn must be given no beams", sampling.beams, fix)
