"""Beam search with a length penalty (Wu et al. 2016, https://arxiv.org/abs/1609.08144, section 7)."""

import torch
from torch import Tensor

from viva.base.errors import Refusal
from viva.infer import decode
from viva.infer.generate import groups, tell_filled
from viva.infer.reader import reach, reader
from viva.infer.sampling import ORDER, Sampling, parameters
from viva.model.transformer import Transformer


class Searches:
    """The searches of several prompts, side by side.

    Those of `open` go on, N of them with K beams each (one before the first token): `scores` [N, K] and the `tokens`
    [N, K, t] made so far. `ended` are each prompt's finished replies with their scores, best first, K at most.
    """

    def __init__(self, prompts: int, beams: int, alpha: float, stops: frozenset[int], device: torch.device):
        self.beams, self.alpha = beams, alpha
        self.stops = torch.tensor(sorted(stops), device=device)
        self.open = list(range(prompts))
        self.scores = torch.zeros(prompts, 1, device=device)
        self.tokens = torch.zeros(prompts, 1, 0, dtype=torch.long, device=device)
        self.ended: list[list[tuple[float, list[int]]]] = [[] for _ in self.open]

    def advance(self, logs: Tensor) -> list[int]:
        """Each beam takes its best tokens by `logs` [N K, V]; the rows of it, any number of times, that go on."""
        width, V = self.scores.shape[1], logs.shape[-1]
        total = self.scores[..., None] + logs.unflatten(0, (-1, width))  # [N, width, V]
        most = (1 + len(self.stops)) * self.beams  # K go on, should every beam stop by every id
        best, at = total.flatten(1).topk(min(most, width * V))
        beam, token = at // V, at % V
        stopped = torch.isin(token, self.stops)
        for n, rank in stopped[:, : self.beams].nonzero().tolist():
            self._end(n, float(best[n, rank]), [*self.tokens[n, beam[n, rank]].tolist(), int(token[n, rank])])
        # the open ones that are best; a sort by whether they stopped keeps the order of the scores
        keep = stopped.int().argsort(stable=True)[:, : self.beams]
        self.scores, beam, token = (x.gather(1, keep) for x in (best.masked_fill(stopped, -torch.inf), beam, token))
        before = self.tokens.gather(1, beam[..., None].expand(-1, -1, self.tokens.shape[-1]))
        self.tokens = torch.cat((before, token[..., None]), -1)
        on = [n for n in range(len(self.open)) if not self._settled(n)]
        self.open, self.scores, self.tokens = [self.open[n] for n in on], self.scores[on], self.tokens[on]
        return [n * width + int(b) for n in on for b in beam[n]]

    def close(self) -> None:
        """End the best beam of each open search as it is."""
        for n in range(len(self.open)):
            self._end(n, float(self.scores[n, 0]), self.tokens[n, 0].tolist())

    def best(self) -> list[list[int]]:
        return [ended[0][1] for ended in self.ended]

    def _end(self, n: int, score: float, reply: list[int]) -> None:
        score /= self._penalty(len(reply))
        ended = self.ended[self.open[n]]
        self.ended[self.open[n]] = sorted([*ended, (score, reply)], key=lambda found: -found[0])[: self.beams]

    def _settled(self, n: int) -> bool:
        """Whether as many replies as beams have ended, each better than the best open one would be if it ended now."""
        ended = self.ended[self.open[n]]
        now = float(self.scores[n, 0]) / self._penalty(self.tokens.shape[-1])
        return len(ended) == self.beams and ended[-1][0] >= now

    def _penalty(self, length: int) -> float:
        return ((5 + length) / 6) ** self.alpha


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
    decode.require_sources(model, prompts, sources)
    require_alone(sampling)
    found: dict[int, list[int]] = {}
    for taken in groups(prompts, sources, rows, alike=True):
        read = sources and [sources[i] for i in taken]
        replies = _together(model, [prompts[i] for i in taken], sampling, stops, read)
        found |= zip(taken, replies, strict=True)
    _tell(model, [found[i] for i in range(len(prompts))], prompts, sampling, stops)
    return [found[i] for i in range(len(prompts))]


def _tell(model: Transformer, replies: list, prompts: list, sampling: Sampling, stops: frozenset[int]) -> None:
    """Say how many replies ended because the context was full."""
    room = [reach(model) - len(prompt) + 1 for prompt in prompts]
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
    limit = min(decode.limit(model, prompt, sampling) for prompt in prompts)
    ids = torch.tensor(prompts, device=model.embedding.weight.device)
    reading = reader(model, None if sources is None else decode.read(model, sources), sampling.prefix)
    states = reading.first(list(ids), ids.shape[1] + limit - 1)
    searches = Searches(len(prompts), sampling.beams, sampling.length_penalty, stops, ids.device)
    for made in range(1, limit + 1):
        scored = model.logits(states).float()
        decode.require_finite(scored, searches.open, searches.scores.shape[1], made)
        rows = searches.advance(scored.log_softmax(-1))
        if not rows or made == limit:
            break
        reading.pick(rows)
        states = reading.next(searches.tokens[..., -1].reshape(-1, 1))
    searches.close()
    return searches.best()


def require_alone(sampling: Sampling) -> None:
    """A search draws nothing, so nothing may be said about how to draw."""
    names = {*parameters(ORDER), "seed", "stop"}
    usual = {name: Sampling.model_fields[name].default for name in names}
    given = sorted(name for name, value in usual.items() if getattr(sampling, name) != value)
    if set(given) - {"temperature"} or sampling.temperature not in (0, usual["temperature"]):
        fix = "leave these out, or leave beams out"
        raise Refusal("a beam search must be given nothing that changes how tokens are drawn", ", ".join(given), fix)
