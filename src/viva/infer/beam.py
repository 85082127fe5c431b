"""Beam search with a length penalty (Wu et al. 2016, https://arxiv.org/abs/1609.08144, section 7)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from viva.base.errors import Refusal
from viva.infer import decode
from viva.infer.decode import require_source
from viva.infer.generate import by_length, tell_filled
from viva.infer.sampling import ORDER, Sampling
from viva.model.transformer import Transformer


@dataclass
class _Search:
    """One prompt's search: the ended replies with their scores, best first."""

    ended: list[tuple[float, list[int]]]

    def add(self, score: float, tokens: list[int], beams: int) -> None:
        self.ended = sorted([*self.ended, (score, tokens)], key=lambda found: -found[0])[:beams]

    def settled(self, best_open: float, beams: int) -> bool:
        """Whether as many replies as beams have ended, each better than the best open one would be if it ended now."""
        return len(self.ended) == beams and self.ended[-1][0] >= best_open


@torch.inference_mode()
def beam_search(
    model: Transformer,
    prompts: list[list[int]],
    sampling: Sampling,
    stops: frozenset[int],
    sources: list[list[int]] | None = None,
    rows: int = 64,
) -> list[list[int]]:
    """The reply to each prompt with the highest log P / penalty among those that `sampling.beams` beams find.

    The penalty is ((5 + length) / 6)^alpha, alpha = `sampling.length_penalty` (eq. 14); the id of `stops` that ends a
    reply is part of it and of its length. A search ends when as many replies as beams have ended and none that is open
    would be better at its present length: a heuristic, which a longer reply could still refute. Prompts of one length
    are searched together, `rows` at a time; the encoder reads each source once.
    """
    require_source(model, sources)
    _require_alone(sampling)
    found: dict[int, list[int]] = {}
    order = by_length(prompts, sources)
    while order:
        length = len(prompts[order[0]])
        taken = [i for i in order[:rows] if len(prompts[i]) == length]
        order = order[len(taken) :]
        read = sources and [sources[i] for i in taken]
        replies = _together(model, [prompts[i] for i in taken], sampling, stops, read)
        found |= zip(taken, replies, strict=True)
    _tell(model, [found[i] for i in range(len(prompts))], prompts, sampling, stops)
    return [found[i] for i in range(len(prompts))]


def _tell(model: Transformer, replies: list, prompts: list, sampling: Sampling, stops: frozenset[int]) -> None:
    """Say how many replies ended because the context was full."""
    room = [model.spec.context - len(prompt) + 1 for prompt in prompts]
    ended = [n for n, reply in zip(room, replies, strict=True) if len(reply) >= n and reply[-1] not in stops]
    tell_filled(model, sum(n < sampling.max_new_tokens for n in ended))


def _together(
    model: Transformer,
    prompts: list[list[int]],
    sampling: Sampling,
    stops: frozenset[int],
    sources: list[list[int]] | None,
) -> list[list[int]]:
    """The best replies to prompts of one length."""
    K, limit = sampling.beams, min(decode.limit(model, prompt, sampling) for prompt in prompts)
    ids = torch.tensor(prompts, device=model.embedding.weight.device)
    memory = None if sources is None else decode.read(model, sources)
    cache = model.cache(len(prompts), ids.shape[1] + limit - 1)
    ends = torch.tensor(sorted(stops), device=ids.device)
    searches = [_Search([]) for _ in prompts]
    open_ = list(range(len(prompts)))  # the numbers of the prompts whose search goes on; each has `width` rows
    width, scores, tokens = 1, ids.new_zeros(len(prompts), 1, dtype=torch.float32), ids.new_zeros(len(prompts), 1, 0)
    for made in range(1, limit + 1):
        scored = model.logits(model.hidden(ids, cache=cache, memory=memory)[:, -1]).float()
        decode.require_finite(scored, open_, width, made)
        logs = scored.log_softmax(-1)
        total = scores[..., None] + logs.unflatten(0, (len(open_), width))  # [N, width, V]
        best, at = total.flatten(1).topk(min(2 * K, total[0].numel()))
        beam, token = at // logs.shape[-1], at % logs.shape[-1]
        stopped = torch.isin(token, ends)
        penalty = ((5 + made) / 6) ** sampling.length_penalty
        for n, rank in stopped[:, :K].nonzero().tolist():
            reply = [*tokens[n, beam[n, rank]].tolist(), int(token[n, rank])]
            searches[open_[n]].add(float(best[n, rank]) / penalty, reply, K)
        # the open ones that are best; a sort by whether they stopped keeps the order of the scores
        keep = stopped.int().argsort(stable=True)[:, :K]
        scores, beam, token = (x.gather(1, keep) for x in (best.masked_fill(stopped, -torch.inf), beam, token))
        tokens = torch.cat((_rows(tokens, beam), token[..., None]), -1)
        on = [n for n in range(len(open_)) if not searches[open_[n]].settled(float(scores[n, 0]) / penalty, K)]
        if made == limit:
            for n in on:
                searches[open_[n]].add(float(scores[n, 0]) / penalty, tokens[n, 0].tolist(), K)
        if not on or made == limit:
            break
        rows = [n * width + int(b) for n in on for b in beam[n]]
        cache.pick(rows)
        memory = None if memory is None else memory.take(rows)
        open_, scores, tokens, width = [open_[n] for n in on], scores[on], tokens[on], beam.shape[1]
        ids = tokens[..., -1].reshape(-1, 1)
    return [search.ended[0][1] for search in searches]


def _rows(tokens: Tensor, beam: Tensor) -> Tensor:
    """tokens [N, width, t] of the beams [N, K] that go on: [N, K, t]."""
    return tokens.gather(1, beam[..., None].expand(-1, -1, tokens.shape[-1]))


def _require_alone(sampling: Sampling) -> None:
    """A search draws nothing, so nothing may be said about how to draw."""
    names = {name for filter in ORDER for name in filter.Config.model_fields} | {"seed", "stop"}
    usual = {name: Sampling.model_fields[name].default for name in names}
    given = sorted(name for name, value in usual.items() if getattr(sampling, name) != value)
    if set(given) - {"temperature"} or sampling.temperature not in (0, usual["temperature"]):
        fix = "leave these out, or leave beams out"
        raise Refusal("a beam search must be given nothing that changes how tokens are drawn", ", ".join(given), fix)
