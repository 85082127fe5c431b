"""The moving average of a run's weights, against torch's own."""

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import viva
from viva.train import checkpoint
from viva.train.evaluation import evaluate
from viva.train.run import run
from viva.train.step import update

from .runs import job, recipe, straight_and_resumed, weights

EMA = {"train.ema": 0.8}


def test_it_is_what_torch_averages(tmp_path):
    """AveragedModel with its exponential average over the weights of a plain run, step for step."""
    plain, state = job(tmp_path, {}, "plain")
    theirs = AveragedModel(plain.model, multi_avg_fn=get_ema_multi_avg_fn(0.8))
    work, ours = job(tmp_path, EMA, "averaged")
    for _ in range(5):
        update(plain, state)
        theirs.update_parameters(plain.model)
        update(work, ours)
    trained = dict(plain.model.named_parameters())
    assert all(torch.equal(value, trained[name]) for name, value in work.model.named_parameters())
    expected = dict(theirs.module.named_parameters())
    assert set(work.average.kept) == set(expected)
    for name, value in work.average.kept.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-7)
    plain.model.load_state_dict(theirs.module.state_dict())
    assert evaluate(work)["valid_loss"] == pytest.approx(evaluate(plain)["valid_loss"], rel=1e-6)


def test_a_checkpoint_holds_the_average_and_goes_on_with_the_weights(tmp_path, monkeypatch):
    """Killed and resumed, both are those of the run that was not; what is loaded is the average."""
    plain = run(recipe(tmp_path, {}, "plain"))
    made = lambda out: recipe(tmp_path, EMA, out)  # noqa: E731
    straight, resumed = straight_and_resumed(monkeypatch, made)
    for file in ("model.safetensors", checkpoint.WEIGHTS):
        left, right = weights(straight.folder, 6, file), weights(resumed.folder, 6, file)
        assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
    trained = weights(resumed.folder, 6, checkpoint.WEIGHTS)
    expected = dict(viva.load(plain.folder).model.named_parameters())
    assert set(trained) == set(expected) and all(torch.equal(trained[name], expected[name]) for name in expected)
    loaded = dict(viva.load(resumed.folder).model.named_parameters())
    assert not any(torch.equal(loaded[name], trained[name]) for name in trained)
