"""Policies, prompts and replies small enough for a test: four prompts, whose replies are one word of a few."""

import json

import torch

from viva.align.reply import Prompt, Reply
from viva.model.arch import llama
from viva.model.init import initialise

from .runs import job, recipe

PROMPTS = ("first", "second", "third", "fourth")
WORDS = ("one", "two", "three", "four")


def rows(path):
    """A jsonl file of prompts, whose true answers are words; returns its path."""
    pairs = zip(PROMPTS, WORDS, strict=True)
    path.write_text(
        "".join(json.dumps({"prompt": f"{p}:", "completion": w}) + "\n" for p, w in pairs), encoding="utf-8"
    )
    return path


def changes(folder, objective, **more):
    """What makes of the run of `runs.recipe` one of a policy that is asked these prompts."""
    if not (folder / "asked.jsonl").exists():
        rows(folder / "asked.jsonl")
    return {
        "data": {"kind": "files", "path": str(folder / "asked.jsonl")},
        "format": "prompt",
        "valid": 0,
        "objective": {"rollout": {"replies": 4, "max_new_tokens": 5}, "reward": {"kind": "length", "target": 1}}
        | objective,
        "tokenizer": {"vocab_size": 290},
        "train.batch": 4,
        **more,
    }


def policy_job(folder, objective, out="run", **more):
    """Such a run put together, and its first state."""
    return job(folder, changes(folder, objective, **more), out)


def policy_recipe(folder, objective, out="run", **more):
    """Its recipe."""
    return recipe(folder, changes(folder, objective, **more), out)


def tiny(vocab=20, seed=0):
    """A model, in double precision."""
    config = llama.Config(vocab=vocab, width=16, layers=1, heads=2, hidden=24, context=32)
    return initialise(config.spec().build(), seed).double()


def replies(sizes, vocab=20, seed=0, prompt=3):
    """Replies of these many tokens to a prompt each, whose ids are random."""
    draw = torch.Generator().manual_seed(seed)
    ids = lambda n: torch.randint(1, vocab, (n,), generator=draw).tolist()  # noqa: E731
    return [Reply(Prompt(ids(prompt), "", "", i), ids(n), [0.0] * n, "", True) for i, n in enumerate(sizes)]
