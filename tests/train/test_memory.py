"""What `--dry-run` counts of models that stay in memory beside the one that learns: the bytes of their files."""

import pytest

from viva.model import folder
from viva.model.arch import llama
from viva.model.head import regress
from viva.model.init import initialise
from viva.train.cost import cost
from viva.train.run import run

from .playing import policy_job
from .preferring import base, judged
from .runs import job, recipe


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a trained model, `base`, pairs and judged answers; and `judge`, a reward model of its tokenizer."""
    where = tmp_path_factory.mktemp("beside")
    changes = base(where)
    begun = folder.load(run(recipe(where, {"train.steps": 8, "valid": 0}, "base")).checkpoint)
    sizes = {"width": 24, "layers": 1, "heads": 2, "hidden": 32, "context": 32, "head": regress.Config()}
    config = llama.Config(vocab=begun.tokenizer.vocab_size, **sizes)
    folder.save(where / "judge", config, initialise(config.spec().build()), begun.tokenizer)
    return where, changes


def stored(path):
    """The bytes of a folder's weights in fp32."""
    return 4 * sum(tensor.numel() for tensor in folder.load(path).model.parameters())


def beside(found):
    memory = cost(found[0], 96).memory
    return {name: memory[name] for name in ("other models", "average") if name in memory}


def test_a_reference_is_counted(place):
    where, changes = place
    whole = stored(next((where / "base" / "checkpoints").glob("step-*8")))
    assert beside(job(where, judged(where, changes), "kto")) == {"other models": whole}


def test_reference_and_judge_of_a_policy_are_counted(place):
    where, _ = place
    whole, judge = stored(next((where / "base" / "checkpoints").glob("step-*8"))), stored(where / "judge")
    begun = {"model": None, "tokenizer": None, "init": str(where / "base")}
    reward = {"kind": "model", "path": str(where / "judge")}
    both = {"kind": "sum", "rewards": [reward, {"kind": "length", "target": 1}], "weights": [1, 1]}
    for kind in ("grpo", "ppo"):
        held = {"kind": kind, "beta": 0.1, "reward": both}
        assert beside(policy_job(where, held, kind, **begun)) == {"other models": whole + judge}
        free = {"kind": kind, "beta": 0.0, "truth": reward}
        assert beside(policy_job(where, free, f"{kind}-free", **begun)) == {"other models": judge}


def test_a_teacher_first_weights_and_an_average_are_counted(place):
    where, changes = place
    whole = stored(next((where / "base" / "checkpoints").glob("step-*8")))
    text = {name: changes[name] for name in ("model", "tokenizer", "init")}
    teacher = {"objective": {"kind": "distill", "teacher": str(where / "base")}}
    assert beside(job(where, text | teacher, "taught")) == {"other models": whole}
    assert beside(job(where, text | {"train.ema": 0.9}, "average")) == {"average": whole}
    mixed = job(where, text | {"train.regularise": ["mixout"]}, "mixed")
    inside = [p for name, p in mixed[0].model.named_parameters() if ".layers." in name and p.ndim == 2]
    assert beside(mixed) == {"other models": 4 * sum(p.numel() for p in inside)}
