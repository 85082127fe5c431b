"""A reward model in the loop: how pairs are read, that batches and kills change nothing, what is refused."""

import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from viva.base.errors import Refusal
from viva.cli import main
from viva.model.arch import bert, llama
from viva.model.head import regress
from viva.model.init import initialise
from viva.train.data import Batching, Data
from viva.train.objective import reward
from viva.train.objective.reward import Compared
from viva.train.run import run
from viva.train.step import update

from .fakes import Memory
from .preferring import base
from .runs import job, looked, recipe, stop_after, weights

PAD = 0
LEARNS = {"objective": {"kind": "reward"}}


def couples(pairs, labels=None):
    found = Memory([[*one, *other] for one, other in pairs], lambda document, place: place > 0, labels)
    found.cuts = np.array([len(one) for one, _ in pairs])
    return found


def batch(documents, reading):
    data = Data(documents, Batching(batch=8, context=32), reading)
    data.epoch = lambda number: [[span] for span in data.spans]
    [found] = data.once()
    return found


PAIRS = [([1, 2, 3, 9], [1, 2, 9]), ([4, 9], [4, 5, 6, 7, 9])]


def test_a_batch_of_pairs_by_hand():
    """Both sides whole, the end token too, end to end without padding."""
    found = batch(couples(PAIRS), Compared(PAD))
    assert found.ids.tolist() == [[1, 2, 3, 9, 1, 2, 9, 4, 9, 4, 5, 6, 7, 9]]
    assert found.lengths == ((4, 3, 2, 5),) and found.count == 2 and found.tokens == 14 and found.labels is None


@pytest.mark.parametrize("family", [bert, llama])
@pytest.mark.parametrize("fields", [{}, {"margin": 0.5}, {"margin": "row"}, {"votes": True, "center": 0.1}])
def test_the_loss_of_a_packed_batch_is_that_of_each_text_by_itself(family, fields):
    config, degrees = reward.Config(**fields), [0.25, 0.75]
    spec = family.TINY.model_copy(update={"head": regress.Config()}).spec()
    model = initialise(spec.build(), 1).double().eval()
    reading = config.reading(TinyTokenizer())
    assert isinstance(reading, Compared)
    found = config.build()(model, batch(couples(PAIRS, degrees), reading))
    total, right = 0.0, 0
    for (one, other), degree in zip(PAIRS, degrees, strict=True):
        chosen, rejected = (model(torch.tensor([ids])).item() for ids in (one, other))
        apart = chosen - rejected - {"row": degree}.get(config.margin, config.margin)
        share = degree if config.votes else 1.0
        sigma = 1 / (1 + np.exp(-apart))
        total += -share * np.log(sigma) - (1 - share) * np.log(1 - sigma) + config.center * (chosen + rejected) ** 2
        right += chosen > rejected
    assert found.sum.item() == pytest.approx(total, rel=1e-9) and found.count == 2
    assert found.metrics["accuracy"] == right


class TinyTokenizer:
    pad_id = PAD


@pytest.mark.parametrize("degree", [-0.1, 1.5, np.nan])
def test_a_share_of_votes_that_is_none_is_refused(degree):
    with pytest.raises(
        Refusal, match=r"^the degree of document 1 must be a number from 0 to 1, but found (-0.1|1.5|nan)"
    ):
        batch(couples(PAIRS, [0.5, degree]), Compared(PAD, degrees=True, most=1.0))


def test_what_is_not_a_pair_is_refused_and_so_is_one_too_long():
    with pytest.raises(Refusal, match="documents must be two answers to a prompt, but found another format"):
        batch(Memory([[1, 2, 3]]), Compared(PAD))
    assert Data(couples(PAIRS), Batching(context=5), Compared(PAD)).report.dropped == 0
    with pytest.raises(Refusal, match=r"the longer answer of document 1 must have at most 4 tokens .* found 5"):
        Data(couples(PAIRS), Batching(context=4), Compared(PAD))


# ------------------------------------------------------------------------------------------------- whole runs


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = tmp_path_factory.mktemp("reward")
    return made, base(made) | LEARNS


def test_accumulation_is_exact(place):
    where, changes = place
    changes = changes | {"train.optim.kind": "sgd", "train.optim.momentum": 0, "train.lr": 1, "valid": 0}
    found = []
    for size in (8, 1, 4):
        work, state = job(where, changes | {"train.batch": size, "train.accumulate": 8 // size}, out=f"by-{size}")
        losses = [update(work, state)["loss"] for _ in range(3)]
        found.append((losses, dict(work.model.named_parameters())))
    for losses, parameters in found[1:]:
        assert losses == pytest.approx(found[0][0], rel=1e-6)
        for name, value in parameters.items():
            torch.testing.assert_close(value, found[0][1][name], rtol=1e-5, atol=1e-6)


def test_a_stopped_run_resumes_bit_for_bit(place, monkeypatch):
    where, changes = place
    run(recipe(where, changes, "straight"))
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        assert not run(recipe(where, changes, "stopped")).finished
    run(recipe(where, changes, "stopped"))
    one, other = (weights(where / name, 6) for name in ("straight", "stopped"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns_what_is_preferred(place, capsys):
    where, changes = place
    changes = changes | {"train.steps": 40, "train.batch": 8, "train.eval_every": 40, "valid": 0.3}
    done = run(recipe(where, changes, "learns"))
    assert done.metrics["valid_accuracy"] > 0.8 and done.metrics["valid_margin"] > 1
    looked(recipe(where, changes, "looks"))
    assert "-- preferred to the next --" in capsys.readouterr().out
    assert main(["reward", "report", str(where / "learns"), "--data", str(where / "pairs.jsonl")]) == 0
    shown = capsys.readouterr().out
    assert "40 pairs" in shown and "plain True" in shown  # as the run's recipe says
    assert (where / "learns/checkpoints/step-00000040/reward_report.json").is_file()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"objective.margin": "row"},
            "rows must say how much a chosen answer is preferred, .* found format.degree left out",
        ),
        ({"format.degree": "n"}, "format.degree must be a margin or a share of votes, but found neither"),
        ({"objective": {"kind": "dpo"}, "format.degree": "n"}, "a loss of preferences must be given verdicts alone"),
        ({"format": {"kind": "text"}}, "rows must have two answers to a prompt .* found the format text"),
    ],
)
def test_rows_that_would_be_misread_are_refused(place, changes, sentence):
    where, usual = place
    with pytest.raises(Refusal, match=sentence):
        run(recipe(where, usual | changes, "refused"))


def test_one_number_has_one_meaning():
    with pytest.raises(ValidationError, match="is the share of judges or the margin: leave out votes, or margin"):
        reward.Config(votes=True, margin="row")
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        reward.Config(center=-1)


def test_equal_answers_are_refused_before_a_step(place, tmp_path):
    where, changes = place
    (tmp_path / "same.jsonl").write_text(json.dumps({"prompt": "a ", "chosen": "cat", "rejected": "cat"}) + "\n")
    with pytest.raises(Refusal, match=r"same\.jsonl:1 must have two answers that differ .* found 'cat' twice"):
        run(recipe(where, changes | {"data.path": str(tmp_path / "same.jsonl"), "valid": 0}, "same"))


def test_degrees_come_from_the_rows(place, tmp_path):
    where, changes = place
    rows = [{"prompt": "a ", "chosen": "cat", "rejected": "dog", "by": number} for number in (0.5, 2.0, "3")]
    (tmp_path / "by.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = changes | {"data.path": str(tmp_path / "by.jsonl"), "valid": 0, "format.degree": "by"}
    work, _ = job(where, changes | {"objective.margin": "row", "train.batch": 3}, "by")
    [[found]] = list(work.data.updates(0))
    assert sorted(found.labels.tolist()) == [0.5, 2.0, 3.0]


def test_a_model_without_the_head_cannot_learn_it():
    with pytest.raises(Refusal, match="a model must have a head for numbers to tell what answers are worth"):
        reward.Config().require(initialise(llama.TINY.spec().build()))
