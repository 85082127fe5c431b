"""The next tokens of requests that each ask for it in their own way, taken together where they ask alike."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from viva.infer.draw import draw, uniforms
from viva.infer.engine.asked import Asked
from viva.infer.engine.grammar import Grammar
from viva.infer.engine.request import Request
from viva.infer.past import Past
from viva.infer.sampling import ORDER, PENALTIES, parameters


@dataclass(frozen=True)
class Picked:
    """A token with its log-probability, and the likeliest ones with theirs, where they were asked for."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(eq=False)
class Drawing:
    """How the tokens of a request are drawn: its stream of uniform numbers, made as far as they are needed."""

    asked: Asked
    stops: frozenset[int]
    stream: int
    vocab: int
    uniform: list[float] = field(default_factory=list)
    past: Past | None = None
    bias: Tensor | None = None
    grammar: Grammar | None = None

    @staticmethod
    def of(
        request: Request,
        asked: Asked,
        stops: frozenset[int],
        seed: int,
        stream: int,
        vocab: int,
        device: torch.device,
        grammar: Grammar | None = None,
    ) -> "Drawing":
        made = Drawing(asked, stops, stream, vocab, grammar=grammar)
        if asked.temperature:
            made.uniform = uniforms(seed, [stream], request.limit)[0].tolist()
        if asked.penalised:
            made.past = Past.of([torch.tensor(request.prompt, device=device)], vocab)
        if asked.logit_bias:
            made.bias = torch.zeros(vocab, device=device)
            made.bias[list(asked.logit_bias)] = torch.tensor(list(asked.logit_bias.values()), device=device)
        return made

    @property
    def key(self) -> tuple:
        """Requests with the same one can be drawn together."""
        acting = ORDER if self.asked.temperature else PENALTIES
        return tuple(getattr(self.asked, name) for name in ("temperature", *parameters(acting)))


def pick(logits: Tensor, drawings: list[Drawing], made: list[int]) -> list[Picked | None]:
    """The next token of each row of logits [B, V], of which `made[i]` were drawn before; None where scores are not
    finite.
    """
    logits = logits.float()
    broken = (~logits.amax(-1).isfinite()).tolist()
    own = _own(logits, drawings, made)
    tokens = torch.empty(len(drawings), dtype=torch.long, device=logits.device)
    groups: dict[tuple, list[int]] = {}
    for i, drawing in enumerate(drawings):
        groups.setdefault(drawing.key, []).append(i)
    for rows in groups.values():
        first = drawings[rows[0]]
        numbers = [drawings[i].uniform[made[i]] if first.asked.temperature else 0.0 for i in rows]
        uniform = torch.tensor(numbers, dtype=torch.float64, device=logits.device)
        past = Past.joined([drawings[i].past for i in rows]) if first.past is not None else None
        tokens[rows] = draw(own[rows] if len(rows) < len(drawings) else own, first.asked, uniform, past)
    for i, drawing in enumerate(drawings):
        if drawing.past is not None:
            drawing.past.take(tokens[i : i + 1])
    found = tokens.tolist()
    told = _told(logits, drawings, found)
    return [None if bad else pick for bad, pick in zip(broken, told, strict=True)]


def _own(logits: Tensor, drawings: list[Drawing], made: list[int]) -> Tensor:
    """Scores with what single requests add to them and forbid."""
    own = logits
    for i, (drawing, count) in enumerate(zip(drawings, made, strict=True)):
        early = count < drawing.asked.min_new_tokens and drawing.stops
        if drawing.bias is None and drawing.grammar is None and not early:
            continue
        own = own.clone() if own is logits else own
        if drawing.bias is not None:
            own[i] += drawing.bias
        if early:
            own[i, list(drawing.stops)] = -torch.inf
        if drawing.grammar is not None:
            allowed = torch.from_numpy(drawing.grammar.allowed(drawing.vocab, drawing.stops)).to(own.device)
            own[i].masked_fill_(~allowed, -torch.inf)
    return own


def _told(logits: Tensor, drawings: list[Drawing], tokens: list[int]) -> list[Picked]:
    found = [Picked(token) for token in tokens]
    rows = [i for i, drawing in enumerate(drawings) if drawing.asked.logprobs is not None]
    if rows:
        logs = logits[rows].log_softmax(-1)
        most = max(drawings[i].asked.logprobs for i in rows)
        best, at = logs.topk(min(most, logs.shape[-1])) if most else (logs[:, :0], logs[:, :0].long())
        own = logs.gather(1, torch.tensor([[tokens[i]] for i in rows], device=logs.device))[:, 0].tolist()
        for i, mine, values, ids in zip(rows, own, best.tolist(), at.tolist(), strict=True):
            count = drawings[i].asked.logprobs
            found[i] = Picked(tokens[i], mine, tuple(zip(ids[:count], values[:count], strict=True)))
    return found
