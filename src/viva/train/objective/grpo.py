"""The clipped policy gradient without a critic: GRPO, and with other choices Dr. GRPO, RLOO and REINFORCE++.

The loss of a token is minus the clipped objective (_clipped.py), and what its divergence from a reference costs
(Shao et al. 2024, https://arxiv.org/abs/2402.03300, equation 3):

    L_t = -min(rho_t A_t, clip(rho_t, 1 - low, 1 + high) A_t) + beta KL_t
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from viva.align.advantage import group
from viva.align.kl import divergence
from viva.align.reply import Reply
from viva.base.choice import Choice
from viva.base.config import kind
from viva.train.batch import Batch
from viva.train.branched import can_branch
from viva.train.experience import Lessons, Policy, Round
from viva.train.loss.log_probs import through_log_probs
from viva.train.objective import Ground, Loss, Objective
from viva.train.objective._answers import Spoken
from viva.train.objective._clipped import Clipped, Known, picked
from viva.train.objective._online import by_reference
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


class Config(Clipped):
    """`advantage`: how a reply's worth is told from its reward; `clip`: how far below and above 1 the ratio may lead.
    A round is learned in `epochs`, each of `minibatches` updates.

    `beta` holds the policy to the `reference`, a model's name or "start", what the run began from; `estimator` says how
    the divergence from it is measured, `penalty` whether it is part of the loss, or taken from the reward
    token by token. Left out, the estimator is the one whose gradient is that of the divergence: k2 in the loss, k1 from
    the reward. GRPO was published with k3 in the loss, whose gradient is that of KL(p_ref || p), so that it comes to
    another policy than p_ref exp(r / beta) / Z; any price in the loss leaves out what a token does to the divergence of
    those behind it (docs/alignment.md).

    `average`: the mean of a loss over its reply's tokens and then over replies (`sequence`, as GRPO), over all tokens
    (`token`, as DAPO, Yu et al. 2025, https://arxiv.org/abs/2503.14476, equation 8), or the sum over a reply's tokens
    divided by `max_new_tokens` (`constant`, as Dr. GRPO, Liu et al. 2025, https://arxiv.org/abs/2503.20783, section
    3.2).
    """

    advantage: Choice("viva.align.advantage") = group.Config()
    penalty: Literal["loss", "reward"] = "loss"
    average: Literal["sequence", "token", "constant"] = "sequence"

    @model_validator(mode="before")
    @classmethod
    def _usual_estimator(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {"estimator": "k1" if data.get("penalty") == "reward" else "k2"} | data

    @model_validator(mode="after")
    def _can_be_learned(self) -> Self:
        if self.rollout.replies < self.advantage.least:
            found = f"needs {self.advantage.least} replies to a prompt, but rollout.replies is {self.rollout.replies}"
            raise ValueError(f"the advantage {kind(self.advantage)} {found}")
        if self.beta and (self.penalty, self.estimator) == ("loss", "k1"):
            raise ValueError("k1 must be taken from the reward: as a loss, its mean gradient is 0 (use k2 or k3 there)")
        return self

    def lessons(self, policy: Policy, ground: Ground) -> Lessons:
        anchor = by_reference(self.reference, policy, ground) if self.beta else None
        branch = can_branch(policy.model)

        def lessons(found: Round) -> Iterator[list[Batch]]:
            known = {"old": found.logs, "weights": [self._weights(len(reply.ids)) for reply in found.replies]}
            if anchor is not None:
                known["reference"] = anchor(found.replies)
            known["advantages"] = self._advantages(found, known.get("reference"))
            found.measured.update(self._measured(found.logs, known.get("reference")))
            for parts in self.parts(self._teaching(known), found.seed, policy.size):
                yield [self._played(found.replies, known, numbers, policy.pad, branch) for numbers in parts]

        return lessons

    def build(self, ground: Ground | None = None) -> Objective:
        """The loss, with the share of ratios clipped."""

        def grpo(model: nn.Module, batch: Played) -> Loss:
            spoken = Spoken.of(batch)
            parts = list(zip(*(known.split(spoken.lengths) for known in _known(batch)), strict=True))
            hidden, head = states(model, batch), model.head
            total, logs = through_log_probs(
                hidden,
                model.head_weight,
                spoken.targets,
                spoken.lengths,
                lambda number, logs: self._loss(logs, *parts[number]),
                head.bias,
                head.cap,
                self.rollout.temperature,
            )
            clipped = self.is_clipped(logs, batch.old, batch.advantages).to(logs).split(spoken.lengths)
            return Loss(total, batch.count, {"clip_fraction": batch.count * self._mean(clipped)})

        return grpo

    def _loss(
        self, logs: Tensor, old: Tensor, advantages: Tensor, weights: Tensor, anchored: Tensor | None = None
    ) -> Tensor:
        """Of one reply, the weighted sum of L_t."""
        loss = -self.surrogate(logs, old, advantages)
        if anchored is not None and self.penalty == "loss":
            loss = loss + self.beta * divergence(self.estimator, logs, anchored)
        return (weights * loss).sum()

    def _measured(self, logs: list[Tensor], anchored: list[Tensor] | None) -> dict[str, float]:
        """Of a round's replies the policy's entropy, as its mean surprise at what it drew, and its divergence from the
        reference.
        """
        found = {"entropy": self._mean([-each for each in logs])}
        if anchored is not None:
            pairs = zip(logs, anchored, strict=True)
            found["kl"] = self._mean([divergence(self.estimator, *pair) for pair in pairs])
        return found

    def _mean(self, values: Sequence[Tensor]) -> float:
        """Over the tokens of a reply and then over replies, or over all tokens, as the loss."""
        means = values if self.average == "token" else [each.mean()[None] for each in values]
        return torch.cat(list(means)).mean().item()

    def _teaching(self, known: Known) -> list[int]:
        """The numbers of the replies whose loss has a gradient: an advantage, or a price of their divergence. Where all
        replies to a prompt are worth the same none has, and reading them again would be for nothing (Yu et al. 2025,
        section 3.2). The weights of those that are left make up for their number, so that the mean is that over all.
        """
        priced = self.beta > 0 and self.penalty == "loss"
        numbers = [number for number, each in enumerate(known["advantages"]) if priced or each.any()]
        sizes = [len(each) if self.average == "token" else 1 for each in known["weights"]]
        share = sum(sizes[number] for number in numbers) / sum(sizes)
        known["weights"] = [share * each for each in known["weights"]]
        return numbers

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

    def _played(self, replies: list[Reply], known: Known, numbers: list[int], pad: int, branch: bool = False) -> Played:
        """The micro-batch of these replies, with what is known of them."""
        batch = laid([replies[number] for number in numbers], pad, branch)
        answers = None if self.average == "token" else len(numbers)
        return Played(**vars(batch) | {"answers": answers}, **picked(known, numbers))


def _known(batch: Played) -> list[Tensor]:
    """What is known of the tokens, in the order in which the loss takes it."""
    found = (batch.old, batch.advantages, batch.weights, batch.reference)
    return [each for each in found if each is not None]
