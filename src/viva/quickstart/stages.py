"""The two runs of the main job as recipes: what is trained, on what, for how long.

Sizes, rates and shares of the time were chosen by trying; docs/results.md says what was tried.
"""

import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Of the time; the rest goes to training the tokenizer, reading the text and measuring the model.
PRETRAINING, TUNING = 0.25, 0.58


@dataclass(frozen=True)
class Plan:
    """How large the job is: minutes for each stage, the model, the text and the share of it that is held
    out, the vocabulary, tasks to tune on, held-out tasks asked of each family."""

    pretraining: dict[str, Any]
    tuning: dict[str, Any]
    model: dict[str, Any]
    data: dict[str, Any]
    valid: float
    vocab: int
    tasks: int
    asked: int


def plan(minutes: float, fast: bool) -> Plan:
    """The job in about `minutes` of compute; `fast` does everything once on a little of the text."""
    if fast:
        some = {"kind": "files", "path": str(Path(sysconfig.get_path("stdlib")) / "asyncio" / "*.py")}
        model = {"kind": "llama", "width": 64, "layers": 2, "heads": 2, "context": 256}
        return Plan({"steps": 20}, {"steps": 20}, model, some, valid=0.15, vocab=512, tasks=1000, asked=2)
    model = {"kind": "llama", "width": 128, "layers": 4, "heads": 4, "context": 512}
    return Plan(
        {"minutes": minutes * PRETRAINING},
        {"minutes": minutes * TUNING},
        model,
        {"kind": "python"},
        valid=0.03,
        vocab=2048,
        tasks=round(20_000 * minutes),
        asked=50,
    )


def pretraining(plan: Plan, out: Path) -> dict[str, Any]:
    """Next-token prediction on Python's own text; a few per cent of its documents are held out."""
    return {
        "out": str(out),
        "tokenizer": {"vocab_size": plan.vocab},
        "model": plan.model,
        "data": plan.data,
        "valid": plan.valid,
        "train": training(plan, lr=0.006, tables=1.0, decay=0.4) | plan.pretraining,
    }


def tuning(plan: Plan, base: Path, out: Path) -> dict[str, Any]:
    """Conversations about expressions, whose answers the interpreter gave."""
    return {
        "out": str(out),
        "init": str(base),
        "data": {"kind": "tasks", "count": plan.tasks},
        "format": {"kind": "messages"},
        "valid": 0.01,
        "train": training(plan, lr=0.01, tables=0.3, decay=0.8) | plan.tuning,
    }


def training(plan: Plan, lr: float, tables: float, decay: float) -> dict[str, Any]:
    """What the two have in common. `tables`: the embeddings' rate as a multiple of `lr`; `decay`: the share of the
    steps in which rates fall. A model this small runs as fast in fp32, and then with the same rounding everywhere.
    """
    return {
        "batch": 8,
        "context": plan.model["context"],
        "lr": lr,
        "precision": "fp32",
        "optim": {"kind": "muon", "others": tables},
        "schedule": {"kind": "wsd", "warmup": 10, "decay": decay},
    }
