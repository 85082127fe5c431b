"""What each way to align gains in the same time: held-out exact match of one tuned model before and after.

    OMP_NUM_THREADS=1 python benchmarks/gains.py RUN --out OUT [--minutes 3] [--each 200] [--only grpo dpo]

RUN answers Python tasks, as `viva quickstart` makes it. Every method goes on from it for so many minutes, and what
it draws is part of them: methods of preferences, and rejection sampling, learn from replies that RUN gave before their
first step, drawn once for all of them and counted for each. Minutes are those that the process computes, so that what
runs beside it on the machine does not count. The interpreter judges; no method sees a held-out operand. Then the same
held-out tasks are asked of all, `each` of a family less those that come twice: Wilson's interval of 95 %, tasks gained
and lost, McNemar's exact test. OUT/gains.md has the table. With --other, other held-out tasks are asked: to choose
settings by; a method that is finished in OUT is not trained again.
"""

import argparse
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import viva
from viva.base.files import read_json, write_text
from viva.base.markdown import table
from viva.evaluate.exact_match import Score, as_chat, exact_match
from viva.evaluate.paired import Paired
from viva.quickstart import held_out_tasks, pairs
from viva.train import loop, metrics

TASKS = {"data": {"kind": "tasks", "count": 12_000, "seed": 1}, "format": {"kind": "messages"}}
ROLLOUT = {"reward": "interpreter", "rollout": {"replies": 4, "max_new_tokens": 24}}
GRPO = {"kind": "grpo", **ROLLOUT}  # no price of divergence
PPO = {"kind": "ppo", "beta": 0.01, **ROLLOUT}  # by k1 from the reward
FROM_REWARD = {"beta": 0.01, "penalty": "reward", "estimator": "k1"}
TRAIN = {
    "context": 256,
    "precision": "fp32",
    "optim": {"kind": "muon", "others": 0.3},
    "schedule": {"kind": "wsd", "warmup": 5, "decay": 0.8},
}


def prefer(loss: dict[str, Any], lr: float) -> dict[str, Any]:
    """Pairs of an answer and a mistake. An answer has some three tokens: at the usual beta of 0.1 nothing would hold
    its log-probability, which falls with that of the mistake. At higher rates more tasks are lost on the way; ORPO
    bears one, as at its usual weight it is mostly tuning on right answers. SimPO compares means over the tokens: its
    beta of 10 is some 3 a nat of the sum, and its margin a nat, so that pairs which are told apart by more are let be.
    IPO aims at a nat of the sum.
    """
    return {"rows": "pairs", "objective": {"kind": "dpo", "loss": loss}, "train": {"batch": 32, "lr": lr}}


def play(objective: dict[str, Any], lr: float) -> dict[str, Any]:
    """Rounds of replies of its own to 128 prompts."""
    return {**TASKS, "objective": objective, "train": {"batch": 128, "lr": lr}}


METHODS: dict[str, dict[str, Any]] = {
    "continued tuning": {"data": {**TASKS["data"], "count": 50_000}, "format": TASKS["format"], "train": {"lr": 5e-3}},
    "rejection sampling": {"rows": "right", "train": {"batch": 8, "lr": 2e-3}},
    "raft": play({"kind": "raft", "least": 1.0, **ROLLOUT}, lr=1e-3),
    "dpo": prefer({"kind": "sigmoid", "beta": 1.0}, lr=1.5e-4),
    "ipo": prefer({"kind": "ipo", "beta": 0.5, "mean": False}, lr=2e-4),
    "orpo": prefer({"kind": "orpo", "weight": 0.1}, lr=5e-4),
    "simpo": prefer({"kind": "simpo", "beta": 10.0, "margin": 3.0}, lr=1.5e-4),
    "kto": {
        "rows": "judged",
        "objective": {"kind": "kto", "beta": 1.0, "undesirable": 0.2},
        "train": {"batch": 64, "lr": 3e-4},
    },
    "online dpo": play({"kind": "online_dpo", "loss": {"kind": "sigmoid", "beta": 1.0}, **ROLLOUT}, lr=5e-4),
    "grpo": play(GRPO, lr=3e-4),
    "rloo": play(GRPO | {"advantage": "rloo", "average": "constant"}, lr=3e-4),
    "reinforce++": play(GRPO | FROM_REWARD | {"advantage": "reinforce_pp", "average": "token"}, lr=3e-4),
    "ppo": play(PPO | {"epochs": 2, "minibatches": 1, "whiten_advantages": True}, lr=2e-4),
}
FORMATS = {"pairs": "preference", "judged": "kto", "right": "messages"}


def rows(name: str, tasks: list, replies: list[list[str]]) -> list[dict[str, Any]]:
    """What RUN's replies become: pairs of a right answer and a mistake, the two of each pair with a label of its own
    (of tasks whose replies are all right, as half are, KTO has little to learn), or one right reply.
    """
    both = list(zip(tasks, replies, strict=True))
    if name == "pairs":
        return pairs.pairs(tasks, replies)
    if name == "judged":
        return [
            {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
            for pair in pairs.pairs(tasks, replies)
            for side in ("chosen", "rejected")
        ]
    return [
        {"messages": [{"role": "user", "content": task.question}, {"role": "assistant", "content": task.answer}]}
        for task, texts in both
        if task.answer in texts
    ]


def said(start: str, tasks: list, file: Path) -> tuple[list[list[str]], float]:
    """Four replies of `start` to each task, and the seconds that drawing them took; `file` keeps both."""
    if not file.exists():
        begun = time.process_time()
        replies = pairs.sampled(viva.load(start), tasks, 4, seed=0)
        write_text(file, json.dumps({"seconds": time.process_time() - begun, "replies": replies}))
    found = read_json(file)
    return found["replies"], found["seconds"]


def learned(name: str, method: dict[str, Any], given: argparse.Namespace) -> float:
    """Train by a method, in its folder; the seconds it took, drawing included."""
    out, recipe = Path(given.out) / name, dict(method)
    spent = 0.0
    if kept := recipe.pop("rows", None):
        file, tasks = out / "rows.jsonl", pairs.tasks_to_ask(given.tasks, seed=2)
        replies, spent = said(given.run, tasks, Path(given.out) / f"replies-{given.tasks}.json")
        pairs.write(file, rows(kept, tasks, replies))
        recipe |= {"data": {"kind": "files", "path": str(file)}, "format": {"kind": FORMATS[kept]}}
    left = max(given.minutes - spent / 60, 0.1)
    train = TRAIN | recipe["train"] | {"minutes": left}
    if not viva.train({**recipe, "out": str(out), "init": given.run, "valid": 0.0, "train": train}).finished:
        raise SystemExit(f"{name} was asked to stop: the same command goes on")
    return spent + sum(record["seconds"] for record in metrics.read(out))


def to_ask(each: int, other: bool) -> list:
    """Held-out tasks, `each` of a family less those that come twice; with `other` the next as many, none of them among
    the first.
    """
    first = {task.question: task for task in held_out_tasks(each)}
    if not other:
        return list(first.values())
    more = {task.question: task for task in held_out_tasks(2 * each)}
    return [task for question, task in more.items() if question not in first]


def score(name: str, tasks: list) -> Score:
    model = viva.load(name)
    return exact_match(model.model, model.tokenizer, tasks, as_chat)


def line(name: str, before: Score, after: Score, minutes: float, steps: int) -> list[str]:
    change, points = Paired.of(before.right, after.right), 100 * (after.share - before.share)
    share, interval = f"{after.share:.1%}", "{:.1%} to {:.1%}".format(*after.interval)
    tested = [str(change.gained), str(change.lost), f"{change.p:.2g}"]
    return [name, share, interval, f"{points:+.1f}", *tested, f"{minutes:.1f}", str(steps), f"{points / minutes:+.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--out", required=True)
    parser.add_argument("--minutes", type=float, default=3.0, help="of each method")
    parser.add_argument("--each", type=int, default=200, help="held-out tasks of each family")
    parser.add_argument("--other", action="store_true", help="ask other held-out tasks, to choose settings by")
    parser.add_argument("--tasks", type=int, default=12_000, help="of which four replies each are drawn for rows")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=list(METHODS))
    given = parser.parse_args()
    loop.time = SimpleNamespace(perf_counter=time.process_time, monotonic=time.monotonic)
    asked = to_ask(given.each, given.other)
    before = score(given.run, asked)
    interval = "{:.1%} to {:.1%}".format(*before.interval)
    found = [["(before)", f"{before.share:.1%}", interval, *[""] * 7]]
    for name in given.only:
        minutes = learned(name, METHODS[name], given) / 60
        steps = len(metrics.read(Path(given.out) / name))
        found.append(line(name, before, score(f"{given.out}/{name}", asked), minutes, steps))
        print(" | ".join(found[-1]), flush=True)
    head = ("method", "exact match", "interval", "points", "gained", "lost", "p", "minutes", "steps", "points a minute")
    report = "\n".join(table(*head, rows=found))
    write_text(Path(given.out) / "gains.md", report + "\n")
    print(report)


if __name__ == "__main__":
    main()
