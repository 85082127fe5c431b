"""The ways to align, as they are tried on a toy, and the policy that each is known to come to there (known.py)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from viva.base.choice import tagged
from viva.base.config import parse
from viva.train.recipe import Recipe, claim
from viva.train.run import assembled
from viva.train.start import parts
from viva.train.step import update

from .known import best, best_of, by_k2, by_k3, preferred, priced_by_token
from .toy import BETA, PROMPT, Toy


@dataclass(frozen=True)
class Method:
    """How to align: what the objective of a toy is, with its steps, on so many pairs or on so many of its own replies
    to a prompt; `aim` is the policy that it is known to come to.
    """

    objective: Callable[[Toy], dict]
    train: dict
    aim: Callable[[Toy], Tensor] = best
    pairs: int = 0
    replies: int = 0

    def of_its_way(self, toy: Toy, logs: Tensor) -> float:
        """The share of the way to its aim, every reply counted."""
        return toy.of_the_way(logs, self.aim(toy))

    @property
    def drawn(self) -> int:
        """How many replies are judged in a run."""
        return 2 * self.pairs or self.train["steps"] * self.train["batch"] * self.replies

    def taught(self, toy: Toy, out: str, seed: int = 0, looks: int = 1) -> Iterator[Tensor]:
        """The policy [Y], as log-probabilities, at the start of a run in the folder `out`, and after each of so many
        shares of its steps.
        """
        recipe = parse(Recipe, self._recipe(toy, out, seed))
        where = claim(recipe)
        job, state = assembled(recipe, where, parts(recipe, where))
        state.steps = recipe.train.steps
        yield toy.reference
        ends = {state.steps * look // looks for look in range(1, looks + 1)}
        while state.step < state.steps:
            job.model.train()
            update(job, state)
            if state.step in ends:
                yield toy.policy(job.model.eval())

    def _recipe(self, toy: Toy, out: str, seed: int) -> dict:
        made = {"seed": seed, "init": str(toy.start), "objective": self.objective(toy)}
        if self.pairs:
            made |= {"data": toy.file(out, _pairs(toy, self.pairs, seed))}
            made |= {"format": {"kind": "preference", "plain": True}}
        else:
            rollout = {"max_new_tokens": toy.longest, "replies": self.replies}
            made["objective"] |= {"reward": tagged(toy.reward), "rollout": rollout}
            made |= {"data": toy.file(out, [{"prompt": PROMPT}]), "format": {"kind": "ask", "plain": True}}
        return toy.recipe(out, self.train) | made


def _pairs(toy: Toy, number: int, seed: int) -> list[dict]:
    """Pairs of replies of the start, preferred as Bradley and Terry have it: the first with the probability
    s(r_1 - r_2). Replies that were cut have no text that ends, and are left out; so are pairs of equal ones.
    """
    draw = torch.Generator().manual_seed(seed)
    ended = torch.tensor([each.ended and bool(each.text) for each in toy.replies])
    drawn = torch.multinomial(toy.reference.exp() * ended, 2 * number, replacement=True, generator=draw).view(2, -1)
    first = torch.rand(number, generator=draw) < (toy.rewards[drawn[0]] - toy.rewards[drawn[1]]).sigmoid()
    chosen, rejected = torch.where(first, drawn, drawn.flip(0)).tolist()
    texts = [(toy.replies[one].text, toy.replies[other].text) for one, other in zip(chosen, rejected, strict=True)]
    return [{"prompt": PROMPT, "chosen": one, "rejected": other} for one, other in texts if one != other]


def _of_pairs(loss: dict, aim: Callable[[Toy], Tensor] = best, **train) -> Method:
    """Each pair is learned from six times, or more where many are of equal replies and left out."""
    objective = {"kind": "dpo", "loss": loss, "precompute": True}
    return Method(lambda toy: dict(objective), DESCENT | LARGE | train, aim, pairs=40000)


def _of_replies(objective: dict, aim: Callable[[Toy], Tensor] = best, **train) -> Method:
    return Method(lambda toy: dict(objective), ROUNDS | train, aim, replies=64)


def _best_of(n: int, rounds: int) -> Method:
    """Each round is learned to its end, so that it comes to the best of n of the policy of the round before."""
    train = ADAM | {"steps": rounds, "batch": 1280, "lr": 2e-3}
    return Method(lambda toy: {"kind": "raft", "epochs": 60}, train, lambda toy: best_of(toy, n**rounds), replies=n)


def _equal_price(toy: Toy) -> float:
    """The beta at which rewards divided by their deviation at p* cost what beta costs those that are not."""
    return BETA / toy.deviation(best(toy))


WARM = {"schedule": {"kind": "cosine", "warmup": 20}}
ADAM = {"optim": {"kind": "adamw", "weight_decay": 0}}
# Adam's steps are as large where gradients vanish as elsewhere. Who draws replies of its own sees where they lead; a
# loss of pairs does not, and from a start that is all but sure of its answers comes to give others.
DESCENT = {"optim": {"kind": "sgd", "momentum": 0.9}}
# Few steps of many pairs: in many, or by few, other replies grow. The rate must rise slowly: such a start is steep.
LARGE = {"steps": 150, "batch": 1600, "schedule": {"kind": "cosine", "warmup": 75}}
ROUNDS = ADAM | WARM | {"steps": 100, "batch": 2, "lr": 3e-3}
DPO, TAU = {"kind": "sigmoid", "beta": BETA}, BETA / 5
POLICY = {"kind": "grpo", "beta": BETA, "average": "constant"}
PPO = {"kind": "ppo", "beta": BETA, "epochs": 2, "lam": 1.0}
NOT_SCALED = {"kind": "group", "scaled": False}
METHODS = {
    "dpo": _of_pairs(DPO, lr=0.1),
    "ipo": _of_pairs({"kind": "ipo", "beta": TAU, "mean": False}, lambda toy: preferred(toy, TAU), lr=0.004, clip=20.0),
    "online_dpo": _of_replies(
        {"kind": "online_dpo", "loss": DPO, "judge": "bradley_terry"}, steps=200, batch=4, lr=2e-3
    ),
    "ppo": _of_replies(PPO),
    "ppo, whitened": _of_replies(PPO | {"whiten_advantages": True}),
    "rloo": _of_replies(POLICY | {"advantage": "rloo", "penalty": "reward", "estimator": "k1"}),
    "grpo": _of_replies(POLICY | {"advantage": NOT_SCALED, "penalty": "reward", "estimator": "k1"}),
    "grpo, k2 in the loss": _of_replies(
        POLICY | {"advantage": NOT_SCALED, "estimator": "k2"}, lambda toy: priced_by_token(toy, by_k2(BETA))
    ),
    "grpo, k3 in the loss": _of_replies(
        POLICY | {"advantage": NOT_SCALED, "estimator": "k3"}, lambda toy: priced_by_token(toy, by_k3(BETA))
    ),
    "grpo, scaled": Method(
        lambda toy: {"kind": "grpo", "beta": _equal_price(toy), "estimator": "k2"},
        ROUNDS,
        lambda toy: priced_by_token(toy, by_k2(_equal_price(toy)), True),
        replies=64,
    ),
    "grpo, as published": _of_replies(
        {"kind": "grpo", "beta": BETA, "estimator": "k3"}, lambda toy: priced_by_token(toy, by_k3(BETA), True)
    ),
    "best of n": _best_of(6, 1),
    "raft": _best_of(3, 2),
}
