"""PPO: the clipped policy gradient, with a critic that says what to expect (Schulman et al. 2017,
https://arxiv.org/abs/1707.06347, equations 7 and 9; of a language model held to a reference, Ziegler et al. 2019,
https://arxiv.org/abs/1909.08593, and Ouyang et al. 2022, https://arxiv.org/abs/2203.02155).

A token's reward is minus beta times its divergence from the reference, and for the last of a reply what that is worth.
Advantages A_t come by GAE (align/gae.py), and returns R_t = A_t + V_t. The loss of a token:

    L_t = -min(rho_t A_t, clip(rho_t, 1 - low, 1 + high) A_t) + c_1 (V_t - R_t)^2 - c_2 H_t
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from viva.align.gae import at_the_end, gae
from viva.align.kl import Estimator, divergence
from viva.align.reply import Reply
from viva.align.running import Running
from viva.base.config import Config as BaseConfig
from viva.base.errors import Notice
from viva.train.batch import Batch
from viva.train.branched import can_branch
from viva.train.experience import Lessons, Policy, Round, still
from viva.train.loss.log_probs import through_log_probs
from viva.train.objective import Ground, Loss, _critic
from viva.train.objective._answers import Spoken
from viva.train.objective._clipped import Clipped, Known, picked
from viva.train.objective._online import by_reference
from viva.train.replies import in_parts, laid, states

EPS = 1e-8  # beside the deviation of advantages


@dataclass(frozen=True, kw_only=True)
class Played(Batch):
    """Replies, and of each of their M tokens, in the order of the targets, all [M]: its log-probability and its
    state's value before the round's updates (`old`, `values`), its advantage and its return.
    """

    old: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


class Adaptive(BaseConfig):
    """beta is multiplied by 1 + `gain` clip(KL / `target` - 1, -0.2, 0.2) after each round, KL and `target` in nats a
    reply (Ziegler et al. 2019, section 2.2).
    """

    target: float = Field(6.0, gt=0)
    gain: float = Field(0.1, gt=0)

    def factor(self, kl: Tensor) -> Tensor:
        """What beta is multiplied by."""
        return 1 + self.gain * (kl / self.target - 1).clamp(-0.2, 0.2)


class Config(Clipped):
    """`clip`: how far below and above 1 the ratio may lead. A round is learned in `epochs`, each of `minibatches`
    updates; after one in whose replies the policy had already moved by more than `stop`, in nats a token, none follows.

    `beta` is the price of a nat of divergence from the `reference`, a model's name or "start", what the run began from,
    measured by `estimator`; it is fixed, or `adaptive`. `gamma` and `lam` are those of GAE, `entropy` is what a nat of
    the policy's entropy is worth. `cut` is taken from the reward of a reply that did not end. `whiten_rewards`: less
    their mean, divided by their deviation, over all rounds so far, so that beta is a price in deviations;
    `whiten_advantages`: the same with each round's, as the code of Ziegler et al. does. It is off here: at the best
    policy advantages are noise alone, which whitening makes as large as ever, and of their scale Adam's steps are free
    as it is. On a bandit a run of three was lost with it, and none without (docs/results.md).
    """

    epochs: int = Field(4, ge=1)
    stop: float | None = Field(None, gt=0)
    beta: float = Field(0.05, ge=0)
    estimator: Estimator = "k1"
    adaptive: Adaptive | None = None
    critic: _critic.Config = _critic.Config()
    gamma: float = Field(1.0, gt=0, le=1)
    lam: float = Field(0.95, ge=0, le=1)
    entropy: float = Field(0.0, ge=0)
    cut: float = Field(0.0, ge=0)
    whiten_rewards: bool = False
    whiten_advantages: bool = False

    @model_validator(mode="after")
    def _can_adapt(self) -> Self:
        if self.adaptive and not self.beta:
            raise ValueError("a beta that adapts must begin above 0: it is multiplied by a factor each round")
        return self

    def lessons(self, policy: Policy, ground: Ground) -> Lessons:
        learner: PPO = ground.objective
        anchor = by_reference(self.reference, policy, ground) if self.beta else None
        branch = can_branch(policy.model)

        def lessons(found: Round) -> Iterator[list[Batch]]:
            known = learner.known(found, policy, anchor and anchor(found.replies))
            for done, parts in enumerate(self.parts(range(len(found.replies)), found.seed, policy.size), start=1):
                learner.moved = []
                yield [self._played(found.replies, known, numbers, policy.pad, branch) for numbers in parts]
                found.measured["updates"] = done
                if self.stop is not None and torch.cat(learner.moved).mean() > self.stop:
                    return

        return lessons

    def build(self, ground: Ground | None = None) -> "PPO":
        """The loss, with the policy's entropy, the loss of values, and the share of ratios clipped."""
        return PPO(self, self.critic.build(ground.model)).to(next(ground.model.parameters()).device)

    def _played(self, replies: list[Reply], known: Known, numbers: list[int], pad: int, branch: bool = False) -> Played:
        """The micro-batch of these replies, with what is known of them."""
        batch = laid([replies[number] for number in numbers], pad, branch)
        return Played(**vars(batch), **picked(known, numbers))


class PPO(nn.Module):
    """The objective, with what it learns beside the policy, all of which a checkpoint holds: the critic, beta, and the
    mean and the deviation of rewards.
    """

    def __init__(self, config: Config, critic: _critic.Head):
        super().__init__()
        self.config, self.critic, self.scores = config, critic, Running()
        self.register_buffer("beta", torch.tensor(config.beta, dtype=torch.float64))
        self.moved: list[Tensor] = []  # of an update's tokens, how far the policy had moved

    def forward(self, model: nn.Module, batch: Played) -> Loss:
        config, spoken, head = self.config, Spoken.of(batch), model.head
        known = zip(*(each.split(spoken.lengths) for each in (batch.old, batch.advantages)), strict=True)
        parts, hidden = list(known), states(model, batch)
        total, logs, entropies = through_log_probs(
            hidden,
            model.head_weight,
            spoken.targets,
            spoken.lengths,
            lambda number, logs, entropies: self._loss(logs, entropies, *parts[number]),
            head.bias,
            head.cap,
            config.rollout.temperature,
            entropies=True,
        )
        of_values = config.critic.losses(self.critic(hidden, batch), batch.values, batch.returns)
        moved = divergence("k3", batch.old, logs)
        self.moved.append(moved)
        clipped = config.is_clipped(logs, batch.old, batch.advantages)
        found = {"entropy": entropies, "clip_fraction": clipped, "value_loss": of_values, "approx_kl": moved}
        measured = {name: values.sum().item() for name, values in found.items()}
        return Loss(total + config.critic.weight * of_values.sum(), batch.count, measured)

    def _loss(self, logs: Tensor, entropies: Tensor, old: Tensor, advantages: Tensor) -> Tensor:
        """Of one reply, what of the sum of L_t is a function of its log-probabilities and entropies."""
        return -(self.config.surrogate(logs, old, advantages) + self.config.entropy * entropies).sum()

    @torch.no_grad()
    def known(self, found: Round, policy: Policy, anchored: list[Tensor] | None) -> Known:
        """What a round knows of the tokens of each reply; beta and what is known of rewards go on."""
        sizes = [len(logs) for logs in found.logs]
        logs, mask, values = map(_padded, (found.logs, map(torch.ones_like, found.logs), self.values(policy, found)))
        kl = torch.zeros_like(logs)
        if anchored is not None:
            kl = mask * divergence(self.config.estimator, logs, _padded(anchored))
        rewards = at_the_end(self._scores(found).to(logs), self.beta.to(logs) * kl, mask)
        advantages = gae(rewards, values, mask, self.config.gamma, self.config.lam)
        self._measure(found, kl, advantages[mask > 0], values[mask > 0])
        if self.config.adaptive and anchored is not None:
            self.beta.mul_(self.config.adaptive.factor(kl.sum(1).mean().double()))
        returns = advantages + values
        if self.config.whiten_advantages:
            advantages = _whitened(advantages, mask)
        known = {"values": values, "advantages": advantages, "returns": returns}
        return {"old": found.logs} | {name: _cut(each, sizes) for name, each in known.items()}

    def values(self, policy: Policy, found: Round) -> list[Tensor]:
        """Of the state in which each token of each reply was drawn."""
        told = []
        with still(policy.model), still(self.critic), policy.precision.autocast():
            for batch in in_parts(found.replies, policy.size, policy.pad, can_branch(policy.model)):
                batch = batch.to(policy.precision.device)
                told.append(self.critic(states(policy.model, batch), batch))
        return list(torch.cat(told).split([len(reply.ids) for reply in found.replies]))

    def _scores(self, found: Round) -> Tensor:
        """What each reply is worth, [N]."""
        scores = found.rewards.flatten()
        if len(scores) > 1 and (scores == scores[0]).all():
            text = f"all {len(scores)} replies of a round are worth {scores[0]:g}: nothing tells a good one"
            warnings.warn(Notice(text), stacklevel=2)
        scores = scores - self.config.cut * torch.tensor([not reply.ended for reply in found.replies])
        if self.config.whiten_rewards:
            self.scores.take(scores)
            scores = self.scores.whitened(scores)
        return scores

    def _measure(self, found: Round, kl: Tensor, advantages: Tensor, values: Tensor) -> None:
        """Note what only a whole round tells: the divergence from the reference in nats a token, and the share of the
        returns' variance that their values explain.
        """
        variance = (advantages + values).var(correction=0)
        if variance > 0:
            found.measured["explained_variance"] = (1 - advantages.var(correction=0) / variance).item()
        if self.config.beta:
            found.measured.update(kl=(kl.sum() / len(values)).item(), kl_coefficient=self.beta.item())


def _padded(each) -> Tensor:
    """[N, T], 0 behind each end."""
    return pad_sequence(list(each), batch_first=True)


def _cut(padded: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    return [row[:size] for row, size in zip(padded, sizes, strict=True)]


def _whitened(advantages: Tensor, mask: Tensor) -> Tensor:
    """With mean 0 and deviation 1 over all tokens of the round."""
    there = advantages[mask > 0]
    return (advantages - there.mean()) / (there.std(correction=0) + EPS) * mask
