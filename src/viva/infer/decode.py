"""Rows of tokens that grow together, one token each a step."""

from typing import NoReturn

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from viva.base.errors import Refusal
from viva.infer.draw import draw, uniforms
from viva.infer.past import Past
from viva.infer.reader import reach, reader
from viva.infer.sampling import Sampling
from viva.infer.use import require_writer
from viva.model.flow import Memory
from viva.model.layout import Layout
from viva.model.transformer import Transformer


class Decoding:
    """The prompts, by number, that are being continued; of a model with an encoder, each with what that reads. What
    several rows share, as n replies to a prompt do, is read once, and each gets what is kept of it.

    `rows`: the numbers still alive, in the order of the batch. `limit`: how many tokens each may get. `logits` [B, V]:
    what the last tokens were drawn from, before any filter.
    """

    def __init__(
        self,
        model: Transformer,
        prompts: dict[int, list[int]],
        sampling: Sampling,
        sources: dict[int, list[int]] | None = None,
    ):
        require_source(model, sources)
        self.model, self.sampling = model, sampling
        self.rows = list(prompts)
        self.limit = {row: limit(model, prompt, sampling) for row, prompt in prompts.items()}
        self.made = 0
        asked = [(tuple(prompts[row]), tuple(sources[row] if sources else ())) for row in self.rows]
        once = {each: place for place, each in enumerate(dict.fromkeys(asked))}
        self._places = [once[each] for each in asked]
        self._prompts = [torch.tensor(prompt, device=self._weight.device) for prompt, _ in once]
        memory = None if sources is None else read(model, [list(source) for _, source in once])
        self._reader = reader(model, memory, sampling.prefix)
        self._uniform = uniforms(sampling.seed, self.rows, max(self.limit.values())).to(self._weight.device)
        past = Past.of(self._prompts, model.spec.vocab) if sampling.penalised else None
        self._past = past and past.of_rows(self._places)
        self._tokens: Tensor | None = None  # [B, 1]: drawn, not yet read by the model

    @property
    def _weight(self) -> Tensor:
        return self.model.embedding.weight

    @torch.inference_mode()
    def step(self) -> list[int]:
        """The next token of each of `rows`."""
        states = self._first() if self._tokens is None else self._reader.next(self._tokens)
        self.logits = self.model.logits(states)
        tokens = draw(self.logits, self.sampling, self._uniform[:, self.made], self._past)
        self._tokens = tokens[:, None]
        if self._past is not None:
            self._past.take(tokens)
        self.made += 1
        # one transfer a step: a row whose scores are not finite comes back as -1
        found = tokens.masked_fill(~self.logits.amax(-1).isfinite(), -1).tolist()
        if -1 in found:
            refuse_nonfinite(self.rows[found.index(-1)], self.made)
        return found

    def _first(self) -> Tensor:
        """What the first token of each row is drawn from."""
        rows = zip(self.rows, self._places, strict=True)
        capacity = max(len(self._prompts[place]) + self.limit[row] - 1 for row, place in rows)
        states = self._reader.first(self._prompts, capacity)
        if len(self._prompts) < len(self.rows):
            self._reader.pick(self._places)
        return states[self._places]

    def filled(self, row: int) -> bool:
        """Whether `row` ends, or ended, because the model's context is full."""
        return self.made >= self.limit[row] and self.limit[row] < self.sampling.max_new_tokens

    @torch.inference_mode()
    def drop(self, ended: set[int]) -> None:
        """End these rows; rows from the end of the batch take their places."""
        alive = [i for i, row in enumerate(self.rows) if row not in ended]
        spare = [i for i in alive if i >= len(alive)]
        places = [i if self.rows[i] not in ended else spare.pop() for i in range(len(alive))]
        self.rows = [self.rows[i] for i in places]
        self._reader.take(places)
        self._tokens, self._uniform = self._tokens[places], self._uniform[places]
        self._past = self._past and self._past.of_rows(places)


def require_source(model: Transformer, sources: object) -> None:
    """Refuse a model that cannot write, and one with an encoder that is given nothing to read."""
    require_writer(model)
    alone = model.spec.encoder is None
    if alone == (sources is not None):
        found = "a decoder alone and a source" if alone else "no source"
        fix = "generate with the source as the prompt" if alone else "give what its encoder is to read"
        raise Refusal("a model must have a source to read exactly where it has an encoder", found, fix)


def require_sources(model: Transformer, prompts: list, sources: list | None) -> None:
    """As `require_source`; and there must be as many sources as prompts."""
    require_source(model, sources)
    if sources is not None and len(sources) != len(prompts):
        fix = "give each prompt the source at its place"
        raise Refusal(f"there must be a source for each of {len(prompts)} prompts", f"{len(sources)} sources", fix)


def require_finite(scores: Tensor, rows: list[int], width: int, made: int) -> None:
    """Refuse scores [rows times width, V] of which a row is not finite."""
    broken = (~scores.amax(-1).isfinite()).nonzero()
    if len(broken):
        refuse_nonfinite(rows[int(broken[0]) // width], made)


def refuse_nonfinite(row: int, made: int) -> NoReturn:
    """Stop because the scores of token `made` are not finite."""
    fix = "load the model in float32, or load an intact one"
    raise Refusal("a model's scores must be finite", f"NaN or infinity at token {made} of row {row}", fix)


@torch.inference_mode()
def read(model: Transformer, sources: list[list[int]]) -> Memory:
    """What the encoder makes of the sources, a row each, padded on the right."""
    device = model.embedding.weight.device
    for source in sources:
        require_ids(model, source, "a source", model.spec.context)
    ids = pad_sequence([torch.tensor(source, device=device) for source in sources], batch_first=True)
    return model.encode(ids, Layout.packed(tuple((len(source),) for source in sources), ids.shape[1], device))


def limit(model: Transformer, prompt: list[int], sampling: Sampling) -> int:
    """How many tokens may follow `prompt`: the last needs no room, since the model does not read it."""
    require_ids(model, prompt, "a prompt", reach(model))
    return min(sampling.max_new_tokens, reach(model) - len(prompt) + 1)


def require_ids(model: Transformer, ids: list[int], what: str, most: float) -> None:
    """Refuse ids that the model cannot read: none, unknown ones, more than `most`."""
    vocab = model.spec.vocab
    if vocab is None:
        raise Refusal("a model must read text to go on with it", "one that reads images", "use a language model")
    if not ids:
        raise Refusal(f"{what} must have at least one token", "none", "write something, or begin with a begin token")
    if not 0 <= min(ids) <= max(ids) < vocab:
        fix = "use the tokenizer that belongs to the model"
        raise Refusal(f"the ids of {what} must be in [0, {vocab})", f"{min(ids)} to {max(ids)}", fix)
    if len(ids) > most:
        fix = "shorten it, or use a model with a longer context"
        raise Refusal(f"{what} must fit the model's context of {most} tokens", f"{len(ids)} tokens", fix)
