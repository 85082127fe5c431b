"""Toys whose best policy is known: a prompt, few replies, a reward of each, and a model that was tuned to give each.

All replies are counted, so nothing here is sampled. Where policies lead is derived in known.py, how they are taught in
methods.py.
"""

import json
import random
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
from viva.base.config import parse
from viva.model import folder
from viva.model.transformer import Transformer
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.precision import Precision
from viva.train.recipe import Recipe
from viva.train.replies import logs_of
from viva.train.run import run

PROMPT = "?"
BETA = 0.5
MODEL = {"kind": "gpt2", "width": 32, "layers": 1, "heads": 2, "context": 16}
FP32 = Precision("fp32", "cpu")


@dataclass(frozen=True)
class Toy:
    """What is asked, in `place`: the `answers` with how often each is given, the `reward`, how many tokens a reply may
    have, `tuned`, the steps of tuning that the start has had, and `beta`, the price of a nat of divergence from it.
    """

    place: Path
    answers: dict[str, int]
    reward: Sum
    longest: int
    tuned: int
    beta: float = BETA

    @cached_property
    def start(self) -> Path:
        """The checkpoint of a model that gives the answers as often as is said, and hardly anything else: losses of
        pairs compare answers alone, and let what little there is of other replies grow.
        """
        rows = [{"prompt": PROMPT, "completion": word} for word, times in self.answers.items() for _ in range(times)]
        random.Random(0).shuffle(rows)
        tokenizer = {"kind": "char", "byte_fallback": False}
        made = {"tokenizer": tokenizer, "model": MODEL, "data": self.file("answers", rows)}
        train = {"steps": self.tuned, "batch": 64, "lr": 1e-2, "optim": {"kind": "adamw", "weight_decay": 0}}
        return run(parse(Recipe, self.recipe("begin", train) | made)).checkpoint

    def file(self, name: str, rows: list[dict]) -> dict:
        """The corpus of these rows."""
        path = self.place / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return {"kind": "files", "path": str(path)}

    def recipe(self, out: str, train: dict) -> dict:
        """What all runs share."""
        usual = {"context": 16, "precision": "fp32", "device": "cpu"}
        return {"out": str(self.place / out), "format": "prompt", "valid": 0, "train": usual | train}

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

    @cached_property
    def answered(self) -> Tensor:
        """[Y]: which replies are answers, ended as those that the model was tuned on."""
        end = self.tokenizer.eos_id
        return torch.tensor([reply.text in self.answers and reply.ids[-1] == end for reply in self.replies])

    def elsewhere(self, logs: Tensor) -> float:
        """How likely a reply is to be none of the answers."""
        return logs.exp()[~self.answered].sum().item()

    def entropy(self, logs: Tensor) -> float:
        """Of a reply, in nats."""
        return -(logs.exp() * logs).sum().item()

    def reward_of(self, logs: Tensor) -> float:
        """E r"""
        return (logs.exp() @ self.rewards).item()

    def deviation(self, logs: Tensor) -> float:
        """The standard deviation of r."""
        return (logs.exp() @ (self.rewards - self.reward_of(logs)).square()).sqrt().item()

    def objective(self, logs: Tensor) -> float:
        """E r - beta KL(p || p_ref)."""
        return self.reward_of(logs) - self.beta * divergence(logs, self.reference)

    def of_the_way(self, logs: Tensor, aim: Tensor) -> float:
        """1 - KL(p || aim) / KL(p_ref || aim).

        As E r - beta KL(p || p_ref) is beta log Z - beta KL(p || p*) of any policy, this is, where the aim is the best
        policy p*, the share of what that gains which p gains.
        """
        return 1 - divergence(logs, aim) / divergence(self.reference, aim)


def divergence(p: Tensor, q: Tensor) -> float:
    """KL(p || q) in nats, of log-probabilities [Y]."""
    return (p.exp() * (p - q)).sum().item()


def bandit(place: Path) -> Toy:
    """One of six letters: the one that is worth most is seldom given."""
    answers = {"a": 30, "b": 25, "c": 20, "d": 14, "e": 8, "f": 3}
    return Toy(place, answers, _worth({"^b$": 0.5, "^d$": 1, "^e$": 1.5, "^f$": 2}), 2, 200)


def spelling(place: Path) -> Toy:
    """Three letters of a, b, c, of which the worth is in several places: a pair of a, the last, the first. Other
    replies are worth nothing.
    """
    draw = random.Random(1)
    answers = {"".join(letters): draw.randint(2, 12) for letters in product("abc", repeat=3)}
    return Toy(place, answers, _worth({"^(aa[abc]|[abc]aa)$": 1.5, "^[abc]{2}c$": 1, "^b[abc]{2}$": 0.5}), 4, 300)


def _worth(found: dict[str, float]) -> Sum:
    """The sum of so much for each pattern that is found in a reply."""
    rewards = tuple({"kind": "pattern", "regex": regex} for regex in found)
    return Sum(rewards=rewards, weights=tuple(found.values()))
