"""What a policy learns from by its own replies: rounds in which it is sampled as it stands, judged, and taught.

A step of the loop is a round with all of its updates, so a checkpoint lies between rounds, and what a round draws is a
function of the seed, the step and the weights.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean

import torch
from torch import Tensor

from viva.align.reply import Prompt, Reply
from viva.align.reward import Judge, judged
from viva.align.rollout import Rollout
from viva.base.errors import Refusal
from viva.base.seed import derive
from viva.model.transformer import Transformer
from viva.text.cache.pack import Span
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.batch import Batch
from viva.train.data import Data
from viva.train.precision import Precision
from viva.train.prompts import prompt
from viva.train.replies import logs_of

PATIENCE = 8  # rounds that may teach nothing while one is looked at before a run


@dataclass(frozen=True)
class Round:
    """The n replies to each of P prompts, one prompt after another, and their rewards [P, n] on the CPU; `logs`: of
    each the log-probabilities of its tokens before anything is learned, by the forward pass of training. `seed`: for
    what else is drawn. `truths`, like the rewards: by the judge that is only measured. `measured`: of the round, to
    which lessons may add.
    """

    replies: list[Reply]
    rewards: Tensor
    logs: list[Tensor]
    seed: int
    truths: Tensor | None = None
    measured: dict[str, float] = field(default_factory=dict)


Lessons = Callable[[Round], Iterator[list[Batch]]]


@dataclass(frozen=True)
class Policy:
    """The model that is sampled and taught, with what it takes to have it write and read replies, `size` at a time."""

    model: Transformer
    tokenizer: Tokenizer
    precision: Precision
    rollout: Rollout
    size: int

    @property
    def pad(self) -> int:
        return self.tokenizer.pad_id or 0

    def logs(self, replies: Sequence[Reply], model: Transformer | None = None) -> list[Tensor]:
        """The log-probabilities of the tokens of each reply, by the policy or by another model, at the temperature at
        which they were drawn.
        """
        model = self.model if model is None else model
        return logs_of(model, replies, self.rollout.temperature, self.size, self.pad, self.precision)


class Experience:
    """In place of `Data`: prompts of a step, the policy's replies, what they are worth, and the updates made of them.

    `measured` is of the last round: reward, reward_error (the standard error of that mean, over prompts),
    lowest_reward and highest_reward (of a reply), length (in tokens), ended (the share of replies that were not cut),
    equal_groups (the share of prompts whose replies are all worth the same, of which most methods learn nothing),
    sampler_gap, the largest difference between the log-probability with which the sampler drew a token and that by the
    forward pass of training, sampling_seconds, for which replies were drawn, and where there is a second judge,
    `truth`, what it says and the standard error of that.
    """

    def __init__(self, prompts: Data, policy: Policy, judge: Judge, lessons: Lessons, truth: Judge | None = None):
        self.prompts, self.policy, self.judge, self.lessons, self.truth = prompts, policy, judge, lessons, truth
        self.measured: dict[str, float] = {}

    @property
    def steps_an_epoch(self) -> float:
        """Rounds in which every prompt is asked once."""
        return self.prompts.steps_an_epoch

    def updates(self, step: int) -> Iterator[list[Batch]]:
        """The micro-batches of each update of a round; the next is made after the one before was learned."""
        found = self.round(step)
        self.measured = found.measured
        yield from self.lessons(found)

    def micro_batches(self, step: int) -> list[Batch]:
        """Those of a round's first update; of the next round, where this one teaches nothing."""
        for later in range(step, step + PATIENCE):
            if (found := next(self.updates(later), None)) is not None:
                return found
        must = f"one of {PATIENCE} rounds must teach something"
        found, fix = "replies of which none is worth learning from", "look at the reward, or draw more replies"
        raise Refusal(must, found, fix)

    def round(self, step: int) -> Round:
        """Sample the policy as it stands, and judge what it says."""
        asked = self._prompts(span for row in self.prompts.rows_of(step) for span in row)
        seed = derive(self.prompts.seed, "round", step)
        policy = self.policy
        with still(policy.model):
            began = time.perf_counter()
            replies = policy.rollout.drawn(policy.model, policy.tokenizer, asked, seed, policy.size)
            drawn = time.perf_counter() - began
            logs = policy.logs(replies)
        worth = lambda judge: _exact(judged(judge, replies)).view(len(asked), -1)  # noqa: E731
        found = Round(replies, worth(self.judge), logs, seed, self.truth and worth(self.truth))
        found.measured.update(measured(found), sampling_seconds=drawn)
        return found

    def held_out(self) -> dict[str, float]:
        """The rewards of the most likely replies to all prompts; the loss is minus their mean."""
        policy = self.policy
        with still(policy.model):
            asked = self._prompts(self.prompts.spans)
            replies = policy.rollout.likeliest(policy.model, policy.tokenizer, asked, policy.size)
        reward = fmean(judged(self.judge, replies))
        true = {} if self.truth is None else _mean("truth", _exact(judged(self.truth, replies))[:, None])
        return {"loss": -reward, "reward": reward, **true, **_lengths(replies)}

    def _prompts(self, spans: Iterator[Span]) -> list[Prompt]:
        return [prompt(self.prompts.documents, span.document, self.policy.tokenizer) for span in spans]


def _exact(rewards: list[float]) -> Tensor:
    """As they were given: rounded to 32 bits, 0.9 would be less than 0.9."""
    return torch.tensor(rewards, dtype=torch.float64)


@contextmanager
def still(model: Transformer) -> Iterator[None]:
    """The model without dropout, for as long as it is asked and not taught."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def measured(found: Round) -> dict[str, float]:
    """What `Experience` says of a round."""
    said = _mean("reward", found.rewards) | _lengths(found.replies)
    said |= {"lowest_reward": found.rewards.min().item(), "highest_reward": found.rewards.max().item()}
    said |= {} if found.truths is None else _mean("truth", found.truths)
    if found.rewards.shape[1] > 1:
        said["equal_groups"] = (found.rewards == found.rewards[:, :1]).all(1).float().mean().item()
    gaps = [
        (torch.tensor(reply.logs) - logs.cpu()).abs().max()
        for reply, logs in zip(found.replies, found.logs, strict=True)
    ]
    return said | {"sampler_gap": torch.stack(gaps).max().item()}


def _mean(name: str, values: Tensor) -> dict[str, float]:
    """Of [P, n] values the mean and its standard error: replies to one prompt are alike, so those of prompts count, if
    there is more than one. Of a single value there is none.
    """
    each = values.double().mean(1) if len(values) > 1 else values[0].double()
    error = {f"{name}_error": (each.std() / len(each) ** 0.5).item()} if len(each) > 1 else {}
    return {name: values.mean().item(), **error}


def _lengths(replies: Sequence[Reply]) -> dict[str, float]:
    return {"length": fmean(len(reply.ids) for reply in replies), "ended": fmean(reply.ended for reply in replies)}
