"""Small runs that prefer: pairs and judged answers in files, and what a recipe changes to learn from them."""

import json
import random

from viva.train.run import run

from .runs import WORDS, recipe


def preferences(folder, rows=40):
    """Pairs, and the same answers judged one by one: those of the earlier ones of WORDS are preferred."""
    pick = random.Random(1)

    def said(words):
        return " ".join(pick.choices(words, k=pick.randint(1, 4)))

    pairs = [{"prompt": said(WORDS) + " ", "chosen": said(WORDS[:6]), "rejected": said(WORDS[6:])} for _ in range(rows)]
    judged = [
        {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
        for pair in pairs
        for side in ("chosen", "rejected")
    ]
    for name, lines in {"pairs": pairs, "judged": judged}.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def base(folder):
    """Train a model a little on sentences of WORDS; returns the changes by which a recipe goes on from it by DPO."""
    run(recipe(folder, {"train.steps": 8, "valid": 0}, "base"))
    preferences(folder)
    return {
        "model": None, "tokenizer": None, "init": str(folder / "base"), "data.path": str(folder / "pairs.jsonl"),
        "format": {"kind": "preference", "plain": True}, "objective": {"kind": "dpo"}, "train.lr": 3e-3,
    }  # fmt: skip


def judged(folder, changes):
    """The changes by which it goes on by KTO."""
    data = {"data.path": str(folder / "judged.jsonl"), "format": {"kind": "kto", "plain": True}}
    return changes | data | {"objective": {"kind": "kto"}, "train.batch": 8}
