"""A step of a reward model beside trl's on transformers, from the same weights: loss, gradients, what is told."""

from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from torch.nn.utils.rnn import pad_sequence

from train.fakes import Memory
from viva.model import folder, tensors
from viva.model.arch import llama
from viva.model.head import regress
from viva.model.init import initialise
from viva.model.linear.joined import pieces
from viva.train.data import Batching, Data
from viva.train.objective import reward

trl = pytest.importorskip("trl")
PAD = 0
LENGTHS = ((5, 7), (4, 2), (9, 9), (3, 11))


def test_a_step_is_trl_s(tmp_path):
    config = llama.TINY.model_copy(update={"head": regress.Config(bias=False)})
    ours = initialise(config.spec().build(), seed=1)
    folder.save(tmp_path, config, ours)
    twin = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, pad_token_id=PAD)
    assert type(twin).__name__ == "LlamaForSequenceClassification" and twin.num_labels == 1
    ours, twin = ours.double().train(), twin.double().train()

    random = np.random.default_rng(2)
    sides = [[random.integers(1, 64, n) for n in pair] for pair in LENGTHS]
    memory = Memory([np.concatenate(pair) for pair in sides], labels=[0.5, 0.0, 1.0, 2.0])
    memory.cuts = np.array([len(chosen) for chosen, _ in sides])
    objective = reward.Config(margin="row", center=0.01)
    data = Data(memory, Batching(batch=4, context=16), reward.Compared(PAD, degrees=True))
    data.epoch = lambda number: [[span] for span in data.spans]
    [batch] = data.once()
    found = objective.build()(ours, batch)

    texts = [torch.tensor(pair[side]) for side in (0, 1) for pair in sides]
    theirs = SimpleNamespace(
        model=twin, args=SimpleNamespace(center_rewards_coefficient=0.01), _total_train_tokens=0, _tp_size=1,
        accelerator=SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x),
        _metrics=defaultdict(lambda: defaultdict(list)),
    )  # fmt: skip
    inputs = {
        "input_ids": pad_sequence(texts, batch_first=True, padding_value=PAD),
        "attention_mask": pad_sequence([torch.ones_like(text) for text in texts], batch_first=True),
        "margin": torch.tensor(memory.labels),
    }
    expected = trl.RewardTrainer.compute_loss(theirs, twin, inputs)
    loss = found.sum / found.count
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    loss.backward()
    expected.backward()
    grads, right = pieces(ours, lambda parameter: parameter.grad), dict(twin.named_parameters())
    rows = list(tensors.named(llama, ours))
    for row in rows:
        [name] = row.ours
        torch.testing.assert_close(grads[name], right[row.theirs].grad, rtol=1e-6, atol=1e-6, msg=row.theirs)
    assert len(rows) == len(right)
    logged = {name: values[0] for name, values in theirs._metrics["train"].items()}
    for name, key in {"accuracy": "accuracy", "margin": "margin", "reward": "mean_reward"}.items():
        assert found.metrics[name] / found.count == pytest.approx(logged[key], rel=1e-6, abs=1e-6), name
