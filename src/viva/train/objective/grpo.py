"""The clipped policy gradient without a critic: GRPO, and with other choices Dr. GRPO, RLOO and REINFORCE++.

With the ratio rho_t = p(y_t) / p_old(y_t) of a token's probability now and when it was drawn, and its advantage A_t
(Shao et al. 2024, https://arxiv.org/abs/2402.03300, equation 3; the clipped objective is Schulman et al. 2017,
https://arxiv.org/abs/1707.06347, equation 7):

    L_t = -min(rho_t A_t, clip(rho_t, 1 - low, 1 + high) A_t) + beta KL_t
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from viva.align.advantage import group
from viva.align.kl import Estimator, divergence
from viva.align.reply import Reply
from viva.base.choice import Choice
from viva.base.config import kind
from viva.base.seed import stream
from viva.train.batch import Batch
from viva.train.experience import Lessons, Policy, Round
from viva.train.loss.log_probs import through_log_probs
from viva.train.objective import Ground, Loss, Objective
from viva.train.objective._answers import Spoken
from viva.train.objective._frozen import START, Frozen
from viva.train.objective._online import Online
from viva.train.replies import laid, states


@dataclass(frozen=True, kw_only=True)
class Played(Batch):
    """Replies, and of each of their M tokens, in the order of the targets: its log-probability before the round's
    updates (`old`), its advantage, its weight in the loss, and its log-probability by the reference, all [M].
    """

    old: Tensor
    advantages: Tensor
    weights: Tensor
    reference: Tensor | None = None


class Config(Online):
    """`advantage`: how a reply's worth is told from its reward; `clip`: how far below and above 1 the ratio may lead.
    A round is learned in `epochs`, each of `minibatches` updates.

    `beta` holds the policy to the `reference`, a model's name or "start", what the run began from; `estimator` says how
    the divergence from it is measured (align/kl.py), `penalty` whether it is part of the loss, or taken from the reward
    token by token. `average`: the mean of a loss over its reply's tokens and then over replies (`sequence`, as GRPO),
    over all tokens (`token`, as DAPO, Yu et al. 2025, https://arxiv.org/abs/2503.14476, equation 8), or the sum over a
    reply's tokens divided by `max_new_tokens` (`constant`, as Dr. GRPO, Liu et al. 2025,
    https://arxiv.org/abs/2503.20783, section 3.2).
    """

    advantage: Choice("viva.align.advantage") = group.Config()
    clip: tuple[float, float] = (0.2, 0.2)
    epochs: int = Field(1, ge=1)
    minibatches: int = Field(1, ge=1)
    beta: float = Field(0.0, ge=0)
    reference: str = START
    estimator: Estimator = "k3"
    penalty: Literal["loss", "reward"] = "loss"
    average: Literal["sequence", "token", "constant"] = "sequence"

    @model_validator(mode="after")
    def _can_be_learned(self) -> Self:
        low, high = self.clip
        if not (0 < low <= 1 and high > 0):
            raise ValueError(f"clip must lead at most 1 below and anywhere above 1, but is {low:g} and {high:g}")
        if self.rollout.replies < self.advantage.least:
            found = f"needs {self.advantage.least} replies to a prompt, but rollout.replies is {self.rollout.replies}"
            raise ValueError(f"the advantage {kind(self.advantage)} {found}")
        if not self.beta and self.reference != START:
            raise ValueError("a policy that is held to a reference needs a beta above 0: give one, or leave it out")
        if self.beta and (self.penalty, self.estimator) == ("loss", "k1"):
            raise ValueError("k1 must be taken from the reward: as a loss, its mean gradient is 0 (use k2 or k3 there)")
        return self

    def lessons(self, policy: Policy, ground: Ground) -> Lessons:
        anchor = Frozen(self.reference, ground, "the reference") if self.beta else None

        def lessons(found: Round) -> Iterator[list[Batch]]:
            known = {"old": found.logs, "weights": [self._weights(len(reply.ids)) for reply in found.replies]}
            if anchor is not None:
                known["reference"] = policy.logs(found.replies, anchor.model)
            known["advantages"] = self._advantages(found, known.get("reference"))
            for epoch in range(self.epochs):
                for part in self._minibatches(len(found.replies), found.seed, epoch):
                    pieces = (part[at : at + policy.size] for at in range(0, len(part), policy.size))
                    yield [self._played(found.replies, known, piece, policy.pad) for piece in pieces]

        return lessons

    def build(self, ground: Ground | None = None) -> Objective:
        """The loss, with the policy's entropy, its divergence from the reference, and the share of ratios clipped."""

        def grpo(model: nn.Module, batch: Played) -> Loss:
            spoken = Spoken.of(batch)
            parts = list(zip(*(known.split(spoken.lengths) for known in _known(batch)), strict=True))
            hidden, head = states(model, batch), model.head
            total, logs, entropies = through_log_probs(
                hidden,
                model.head_weight,
                spoken.targets,
                spoken.lengths,
                lambda number, logs, entropies: self._loss(logs, *parts[number]),
                head.bias,
                head.cap,
                self.rollout.temperature,
                entropies=True,
            )
            return Loss(total, batch.count, self._metrics(batch, spoken.lengths, logs, entropies))

        return grpo

    def _loss(
        self, logs: Tensor, old: Tensor, advantages: Tensor, weights: Tensor, anchored: Tensor | None = None
    ) -> Tensor:
        """Of one reply, the weighted sum of L_t."""
        low, high = self.clip
        ratio = (logs - old).exp()
        loss = -torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)
        if anchored is not None and self.penalty == "loss":
            loss = loss + self.beta * divergence(self.estimator, logs, anchored)
        return (weights * loss).sum()

    def _metrics(self, batch: Played, lengths: tuple[int, ...], logs: Tensor, entropies: Tensor) -> dict[str, float]:
        """Means over the tokens of a reply and then over replies, or over all tokens, as the loss; times the count."""
        low, high = self.clip
        ratio = (logs - batch.old).exp()
        clipped = torch.where(batch.advantages > 0, ratio > 1 + high, ratio < 1 - low) & (batch.advantages != 0)
        found = {"entropy": entropies, "clip_fraction": clipped.to(entropies)}
        if batch.reference is not None:
            found["kl"] = divergence(self.estimator, logs, batch.reference)
        sizes = torch.tensor(lengths, device=logs.device)
        share = 1.0 if self.average == "token" else 1 / sizes.repeat_interleave(sizes)
        return {name: (share * values).sum().item() for name, values in found.items()}

    def _advantages(self, found: Round, anchored: list[Tensor] | None) -> list[Tensor]:
        """Of the tokens of each reply."""
        P, n = found.rewards.shape
        logs, mask = (
            pad_sequence(each, batch_first=True) for each in (found.logs, [torch.ones_like(x) for x in found.logs])
        )
        penalty = torch.zeros_like(logs)
        if anchored is not None and self.penalty == "reward":
            penalty = self.beta * mask * divergence(self.estimator, logs, pad_sequence(anchored, batch_first=True))
        advantages = self.advantage.of(found.rewards.to(logs), penalty.view(P, n, -1), mask.view(P, n, -1))
        sizes = [len(reply.ids) for reply in found.replies]
        return [each[:size] for each, size in zip(advantages.flatten(0, 1), sizes, strict=True)]

    def _weights(self, size: int) -> Tensor:
        """Of the tokens of a reply."""
        divided_by = {"sequence": size, "token": 1, "constant": self.rollout.max_new_tokens}[self.average]
        return torch.full((size,), 1 / divided_by)

    def _minibatches(self, replies: int, seed: int, epoch: int) -> Iterator[list[int]]:
        """The numbers of the replies of each update of an epoch: all of them in order, or parts of a shuffled order."""
        order = list(range(replies))
        if self.minibatches > 1:
            stream(seed, "epoch", epoch).shuffle(order)
        borders = [place * replies // self.minibatches for place in range(self.minibatches + 1)]
        return (order[start:end] for start, end in pairwise(borders) if end > start)

    def _played(self, replies: list[Reply], known: dict[str, list[Tensor]], numbers: list[int], pad: int) -> Played:
        """The micro-batch of these replies, with what is known of them."""
        batch = laid([replies[number] for number in numbers], pad)
        picked = {name: torch.cat([each[number] for number in numbers]) for name, each in known.items()}
        answers = None if self.average == "token" else len(numbers)
        return Played(batch.ids, batch.targets, batch.lengths, answers=answers, **picked)


def _known(batch: Played) -> list[Tensor]:
    """What is known of the tokens, in the order in which the loss takes it."""
    found = (batch.old, batch.advantages, batch.weights, batch.reference)
    return [each for each in found if each is not None]
