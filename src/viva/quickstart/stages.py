"""The runs of the main job as recipes: what is trained, on what, for how long.

Sizes, rates and shares of the time were chosen by trying; docs/results.md says what was tried.
"""

import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STAGES = ("pretraining", "tuning", "preferences", "reward")
# Of the time; the rest goes to training the tokenizer, reading the text, drawing answers and measuring the models.
SHARES = (0.25, 0.28, 0.13, 0.25)
PAIRS = "pairs.jsonl"  # in the folder of the run that learns from them


@dataclass(frozen=True)
class Plan:
    """How large the job is: how long each stage is, the model, the text and the share of it that is held out, the
    vocabulary, tasks to tune on, tasks from whose replies `preferences` are made, `prompts` for replies to be judged,
    held-out tasks asked of each family."""

    lengths: dict[str, dict[str, float]]
    model: dict[str, Any]
    data: dict[str, Any]
    valid: float
    vocab: int
    tasks: int
    preferences: int
    prompts: int
    asked: int


def plan(minutes: float, fast: bool) -> Plan:
    """The job in about `minutes` of compute; `fast` does everything once on a little of the text."""
    if fast:
        some = {"kind": "files", "path": str(Path(sysconfig.get_path("stdlib")) / "asyncio" / "*.py")}
        model = {"kind": "llama", "width": 64, "layers": 2, "heads": 2, "context": 256}
        lengths = {name: {"steps": steps} for name, steps in zip(STAGES, (20, 20, 4, 2), strict=True)}
        sizes = {"vocab": 512, "tasks": 1000, "preferences": 30, "prompts": 1000, "asked": 2}
        return Plan(lengths, model, some, valid=0.15, **sizes)
    model = {"kind": "llama", "width": 128, "layers": 4, "heads": 4, "context": 512}
    lengths = {name: {"minutes": minutes * share} for name, share in zip(STAGES, SHARES, strict=True)}
    sizes = {"tasks": 12_000, "preferences": 2000, "prompts": 4000}
    sizes = {name: round(size * minutes) for name, size in sizes.items()}
    return Plan(lengths, model, {"kind": "python"}, valid=0.03, vocab=2048, asked=100, **sizes)


def recipes(plan: Plan, out: Path) -> dict[str, dict[str, Any]]:
    """Each stage's, in order; each goes on from the run before it, and the last has the folder `out` itself."""
    made = (
        pretraining(plan, out / "base"),
        tuning(plan, out / "base", out / "tuned"),
        preferences(plan, out / "tuned", out / "preferred"),
        reward(plan, out / "preferred", out),
    )
    return dict(zip(STAGES, made, strict=True))


def pretraining(plan: Plan, out: Path) -> dict[str, Any]:
    """Next-token prediction on Python's own text; a few per cent of its documents are held out."""
    return {
        "out": str(out),
        "tokenizer": {"vocab_size": plan.vocab},
        "model": plan.model,
        "data": plan.data,
        "valid": plan.valid,
        "train": training(plan, lr=0.006, tables=1.0, decay=0.4) | plan.lengths["pretraining"],
    }


def tuning(plan: Plan, base: Path, out: Path) -> dict[str, Any]:
    """Conversations about expressions, whose answers the interpreter gave."""
    return {
        "out": str(out),
        "init": str(base),
        "data": {"kind": "tasks", "count": plan.tasks},
        "format": {"kind": "messages"},
        "valid": 0.01,
        "train": training(plan, lr=0.01, tables=0.3, decay=0.8) | plan.lengths["tuning"],
    }


def preferences(plan: Plan, tuned: Path, out: Path) -> dict[str, Any]:
    """DPO on the pairs that quickstart/pairs.py makes of the tuned model's own replies. An answer has a few tokens: at
    the usual beta of 0.1 nothing would hold its log-probability, which falls with that of the mistake.
    """
    return {
        "out": str(out),
        "init": str(tuned),
        "data": {"kind": "files", "path": str(out / PAIRS)},
        "format": {"kind": "preference"},
        "valid": 0.0,
        "objective": {"kind": "dpo", "loss": {"kind": "sigmoid", "beta": 1.0}},
        "train": aligning(plan, batch=32, lr=1.5e-4) | plan.lengths["preferences"],
    }


def reward(plan: Plan, preferred: Path, out: Path) -> dict[str, Any]:
    """GRPO on replies to other tasks, with the interpreter as the judge: many tasks a round, for most have replies that
    are all right, of which nothing is learned.
    """
    return {
        "out": str(out),
        "init": str(preferred),
        "data": {"kind": "tasks", "count": plan.prompts, "seed": 1},
        "format": {"kind": "messages"},
        "valid": 0.01,
        "objective": {"kind": "grpo", "reward": "interpreter", "rollout": {"replies": 4, "max_new_tokens": 24}},
        "train": aligning(plan, batch=128, lr=3e-4) | plan.lengths["reward"],
    }


def training(plan: Plan, lr: float, tables: float, decay: float) -> dict[str, Any]:
    """What all have in common. `tables`: the embeddings' rate as a multiple of `lr`; `decay`: the share of
    the steps in which rates fall. A model this small runs as fast in fp32, and then with the same rounding everywhere.
    """
    return {
        "batch": 8,
        "context": plan.model["context"],
        "lr": lr,
        "precision": "fp32",
        "optim": {"kind": "muon", "others": tables},
        "schedule": {"kind": "wsd", "warmup": 10, "decay": decay},
    }


def aligning(plan: Plan, batch: int, lr: float) -> dict[str, Any]:
    """What the last two have in common: `batch` pairs, or prompts, a step, at a rate far below that of tuning: what a
    few replies say of a task is mostly chance, and at some times the rate more tasks are lost than gained.
    """
    return training(plan, lr=lr, tables=0.3, decay=0.8) | {"batch": batch}
