"""Toys whose best policy is known: a prompt, few replies, a reward of each, and a model that was tuned to give each.

With p_ref that model, r the rewards and beta the price of a nat of divergence, the best policy is
p*(y) = p_ref(y) exp(r(y) / beta) / Z, and what it reaches, E r - beta KL(p* || p_ref), is beta log Z (Rafailov et al.
2023, https://arxiv.org/abs/2305.18290, equation 4). All replies are counted, so nothing here is sampled.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from viva.align.reply import Prompt, Reply
from viva.align.reward import Setting, judged
from viva.align.reward.sum import Config as Sum
from viva.align.rollout import reply
from viva.base.choice import tagged
from viva.base.config import parse
from viva.model import folder
from viva.model.transformer import Transformer
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.precision import Precision
from viva.train.recipe import Recipe, claim
from viva.train.replies import logs_of
from viva.train.run import assembled, run
from viva.train.start import parts
from viva.train.step import update

PROMPT = "?"
BETA = 0.5
MODEL = {"kind": "llama", "width": 64, "layers": 1, "heads": 2, "context": 16}
FP32 = Precision("fp32", "cpu")


@dataclass(frozen=True)
class Toy:
    """What is asked, in `place`: the `answers` with how often each is given, the `reward`, how many tokens
    a reply may have, and `beta`.
    """

    place: Path
    answers: dict[str, int]
    reward: Sum
    longest: int
    beta: float = BETA

    @cached_property
    def start(self) -> Path:
        """The checkpoint of a model that gives the answers as often as is said."""
        rows = [{"prompt": PROMPT, "completion": word} for word, times in self.answers.items() for _ in range(times)]
        random.Random(0).shuffle(rows)
        made = {
            "tokenizer": {"kind": "char", "byte_fallback": False},
            "model": MODEL,
            "data": self.file("answers", rows),
        }
        return run(parse(Recipe, self.recipe("begin", {"steps": 150, "batch": 64, "lr": 1e-2}) | made)).checkpoint

    def file(self, name: str, rows: list[dict]) -> dict:
        """The corpus of these rows."""
        path = self.place / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return {"kind": "files", "path": str(path)}

    def recipe(self, out: str, train: dict) -> dict:
        """What all runs share."""
        usual = {"context": 16, "precision": "fp32", "device": "cpu", "optim": {"kind": "adamw", "weight_decay": 0}}
        return {"out": str(self.place / out), "format": "prompt", "valid": 0, "train": usual | train}

    def taught(self, out: str, method: "Method") -> Iterator[Tensor]:
        """The policy [Y], as log-probabilities, at the start of a run by this method and after each few steps."""
        made = {"init": str(self.start), "objective": method.objective}
        if method.pairs:
            made |= {"data": self.file(out, self.pairs(method.pairs)), "format": {"kind": "preference", "plain": True}}
        else:
            rollout = {"max_new_tokens": self.longest, "replies": method.replies}
            made["objective"] = method.objective | {"reward": tagged(self.reward), "rollout": rollout}
            made |= {"data": self.file(out, [{"prompt": PROMPT}]), "format": {"kind": "ask", "plain": True}}
        recipe = parse(Recipe, self.recipe(out, method.train) | made)
        where = claim(recipe)
        job, state = assembled(recipe, where, parts(recipe, where))
        state.steps = recipe.train.steps
        if hasattr(job.objective, "prepare"):
            job.objective.prepare(where, [job.data], FP32)
        yield self.policy(job.model)
        while state.step < state.steps:
            job.model.train()
            update(job, state)
            if state.step % max(1, state.steps // 12) == 0 or state.step == state.steps:
                yield self.policy(job.model.eval())

    def pairs(self, number: int, seed: int = 0) -> list[dict]:
        """Pairs of replies of the start, preferred as Bradley and Terry have it: the first with the probability
        s(r_1 - r_2). Those that were cut have no text that ends, and are left out.
        """
        draw = torch.Generator().manual_seed(seed)
        ended = torch.tensor([each.ended and bool(each.text) for each in self.replies])
        drawn = torch.multinomial(self.reference.exp() * ended, 2 * number, replacement=True, generator=draw).view(
            2, -1
        )
        first = torch.rand(number, generator=draw) < (self.rewards[drawn[0]] - self.rewards[drawn[1]]).sigmoid()
        chosen, rejected = torch.where(first, drawn, drawn.flip(0)).tolist()
        texts = [
            (self.replies[one].text, self.replies[other].text) for one, other in zip(chosen, rejected, strict=True)
        ]
        return [{"prompt": PROMPT, "chosen": one, "rejected": other} for one, other in texts if one != other]

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.start)

    @cached_property
    def replies(self) -> list[Reply]:
        """All Y that there are."""
        tokens, stops = range(self.tokenizer.vocab_size), self.tokenizer.stops
        prompt = Prompt([self.tokenizer.bos_id, *self.tokenizer.encode(PROMPT)], PROMPT, "", 0)
        going_on = [token for token in tokens if token not in stops]
        return [
            reply(self.tokenizer, prompt, [*before, last], [])
            for size in range(self.longest)
            for before in product(going_on, repeat=size)
            for last in (tokens if size + 1 == self.longest else sorted(stops))
        ]

    @cached_property
    def rewards(self) -> Tensor:
        """[Y]"""
        return torch.tensor(judged(self.reward.build(Setting(self.tokenizer)), self.replies), dtype=torch.float64)

    @torch.no_grad()
    def policy(self, model: Transformer) -> Tensor:
        """log p of each reply, [Y]."""
        logs = logs_of(model, self.replies, 1.0, 512, self.tokenizer.pad_id or 0, FP32)
        return torch.stack([each.double().sum() for each in logs])

    @cached_property
    def reference(self) -> Tensor:
        """log p_ref, [Y]."""
        return self.policy(folder.load(self.start).model.eval())

    def best(self, beta: float | None = None, worth: Tensor | None = None) -> Tensor:
        """log p*, [Y]; of another beta, or another worth of replies than their rewards."""
        worth = self.rewards if worth is None else worth
        return (self.reference + worth / (beta or self.beta)).log_softmax(0)

    def beats(self) -> Tensor:
        """How likely each reply is to be preferred to one of the reference's, [Y]: what IPO maximises."""
        return (self.rewards[:, None] - self.rewards).sigmoid() @ self.reference.exp()

    def reward_of(self, logs: Tensor) -> float:
        return (logs.exp() @ self.rewards).item()

    def objective(self, logs: Tensor) -> float:
        """E r - beta KL(p || p_ref)."""
        return self.reward_of(logs) - self.beta * divergence(logs, self.reference)

    def reached(self, logs: Tensor) -> float:
        """The share of what the best policy gains over the reference in the objective."""
        least, most = self.objective(self.reference), self.objective(self.best())
        return (self.objective(logs) - least) / (most - least)

    def efficiency(self, logs: Tensor) -> float:
        """The share of the reward that the best policy of the same divergence gains over the reference."""
        low, high = -4.0, 4.0  # of log10 beta: the divergence falls with it
        for _ in range(60):
            middle = (low + high) / 2
            too_far = divergence(self.best(10**middle), self.reference) > divergence(logs, self.reference)
            low, high = (middle, high) if too_far else (low, middle)
        least = self.reward_of(self.reference)
        return (self.reward_of(logs) - least) / (self.reward_of(self.best(10**high)) - least)


def divergence(p: Tensor, q: Tensor) -> float:
    """KL(p || q) in nats, of log-probabilities [Y]."""
    return (p.exp() * (p - q)).sum().item()


@dataclass(frozen=True)
class Method:
    """How to align: an objective with its steps, on so many pairs or on so many of its own replies a round; `known`
    gives the policy that it is known to come to, None where none is.
    """

    objective: dict
    train: dict
    pairs: int = 0
    replies: int = 0
    known: Callable[[Toy], Tensor | None] = Toy.best


def bandit(place: Path) -> Toy:
    """One of six letters: the one that is worth most is seldom given."""
    return Toy(
        place,
        {"a": 30, "b": 25, "c": 20, "d": 14, "e": 8, "f": 3},
        _worth({"^b$": 0.5, "^d$": 1, "^e$": 1.5, "^f$": 2}),
        2,
    )


def spelling(place: Path) -> Toy:
    """Three letters of a, b, c, of which the worth is in several places: a pair of one letter, the last, the first."""
    words = ["".join(letters) for letters in product("abc", repeat=3)]
    draw = random.Random(1)
    return Toy(place, {word: draw.randint(2, 12) for word in words}, _worth({"aa": 1.5, "c$": 1, "^b": 0.5}), 4)


def _worth(found: dict[str, float]) -> Sum:
    """The sum of so much for each pattern that is found in a reply."""
    rewards = tuple({"kind": "pattern", "regex": regex} for regex in found)
    return Sum(rewards=rewards, weights=tuple(found.values()))


def _of_pairs(loss: dict, known: Callable[[Toy], Tensor] = Toy.best) -> Method:
    train = {"steps": 400, "batch": 64, "lr": 2e-4}
    return Method({"kind": "dpo", "loss": loss, "precompute": True}, train, pairs=20000, known=known)


def _of_replies(
    objective: dict, known: Callable[[Toy], Tensor | None] = Toy.best, replies: int = 32, **train
) -> Method:
    return Method(objective, {"steps": 60, "batch": 4, "lr": 2e-3} | train, replies=replies, known=known)


DPO, TAU = {"kind": "sigmoid", "beta": BETA}, BETA / 5
GRPO = {"kind": "grpo", "beta": BETA, "average": "constant"}
METHODS = {
    "dpo": _of_pairs(DPO),
    "ipo": _of_pairs({"kind": "ipo", "beta": TAU, "mean": False}, lambda toy: toy.best(TAU, toy.beats())),
    "online_dpo": _of_replies({"kind": "online_dpo", "loss": DPO, "judge": "bradley_terry"}),
    "ppo": _of_replies({"kind": "ppo", "beta": BETA, "epochs": 2, "lam": 1.0}),
    "grpo": _of_replies(GRPO | {"estimator": "k2"}, lambda toy: None),
    "dr_grpo": _of_replies(GRPO | {"estimator": "k2", "advantage": {"kind": "group", "scaled": False}}),
    "rloo": _of_replies(GRPO | {"estimator": "k1", "penalty": "reward", "advantage": "rloo"}),
    "raft": _of_replies({"kind": "raft"}, lambda toy: None, replies=2, steps=48, batch=64, lr=1e-3),
}
