"""A step of DPO, its kin and KTO beside trl's on transformers, from the same weights: loss, gradients, what is told."""

from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from torch.nn.utils.rnn import pad_sequence

from train.fakes import Memory
from viva.base.choice import variant
from viva.model import folder, tensors
from viva.model.arch import llama
from viva.model.init import initialise
from viva.model.linear.joined import pieces
from viva.model.transformer import Transformer
from viva.train.data import Batching, Data
from viva.train.objective import kto
from viva.train.objective._reference import Reference
from viva.train.objective._sides import Sides
from viva.train.objective.dpo import Preference
from viva.train.objective.kto import Judged, Judgement

trl = pytest.importorskip("trl")
PAD = 0
PROMPTS, ANSWERS = (3, 7, 1, 5), ((4, 2), (1, 6), (3, 3), (8, 5))

REWARDS = {"chosen": "chosen_reward", "rejected": "rejected_reward", "margins": "margin", "accuracies": "accuracy"}


def drawn(size, seed):
    return np.random.default_rng(seed).integers(1, 64, size)


def documents():
    """Pairs of a prompt with two answers: the ids of each side, and how many of them are the prompt."""
    sides = []
    for i, (prompt, lengths) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
        asked = drawn(prompt, i)
        sides += [(np.concatenate([asked, drawn(n, 10 * i + n)]), prompt) for n in lengths]
    return sides


def both(tmp_path):
    """Policy and reference, which differ, each as ours and as transformers', in fp64."""
    found = []
    for seed in (1, 2):
        model = initialise(Transformer(llama.TINY.spec()), seed=seed)
        folder.save(tmp_path / f"{seed}", llama.TINY, model)
        twin = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / f"{seed}", attn_implementation="eager")
        found.append((model.double().train(), twin.double().train()))
    return [(model, Told(twin)) for model, twin in found]


class Told(torch.nn.Module):
    """transformers' model with log-probabilities as trl's heads give them, but in fp64: theirs are fp32."""

    is_gradient_checkpointing = False

    def __init__(self, twin):
        super().__init__()
        self.twin = twin

    def forward(self, input_ids, attention_mask, labels, fused_lm_head, use_cache):
        logs = self.twin(input_ids=input_ids, attention_mask=attention_mask).logits[:, :-1].log_softmax(-1)
        aims = labels[:, 1:]
        found = logs.gather(2, aims.clamp_min(0)[..., None])[..., 0] * (aims >= 0)
        return SimpleNamespace(log_probs=found, entropy=found, mean_logits=found, is_top1=found > -1)


def learned(side):
    ids, prompt = side
    return np.arange(len(ids)) >= prompt


def padded(sides):
    """What trl's collator makes of them: ids, attention mask and which tokens are the completion's."""
    ids = [torch.tensor(side) for side, _ in sides]
    masks = [torch.tensor(learned(side)) for side in sides]
    lay = lambda rows: pad_sequence([row.long() for row in rows], batch_first=True, padding_value=PAD)  # noqa: E731
    return {
        "input_ids": lay(ids),
        "attention_mask": lay([torch.ones_like(row) for row in ids]),
        "completion_mask": lay(masks),
    }


def trainer(policy, reference, **fields):
    """What of a trainer of trl's its loss looks at."""
    same = lambda value: value  # noqa: E731
    return SimpleNamespace(
        model=policy, ref_model=reference, precompute_ref_logps=False, aux_loss_enabled=False, _total_train_tokens=0,
        args=SimpleNamespace(gradient_checkpointing_kwargs=None), _metrics=defaultdict(lambda: defaultdict(list)),
        accelerator=SimpleNamespace(device=torch.device("cpu"), gather_for_metrics=same, gather=same), _tp_size=1,
        **fields,
    )  # fmt: skip


def reference_of(model):
    return Reference(SimpleNamespace(model=model.eval().requires_grad_(False)))


def only(memory, reading):
    data = Data(memory, Batching(batch=len(memory), context=32), reading)
    data.epoch = lambda number: [[span] for span in data.spans]
    [found] = data.once()
    return found


def assert_same(loss, ours, expected, twin):
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    loss.backward()
    expected.backward()
    found, right = pieces(ours, lambda parameter: parameter.grad), dict(twin.twin.named_parameters())
    compared = 0
    for row in tensors.named(llama, ours):
        [name] = row.ours
        torch.testing.assert_close(found[name], right[row.theirs].grad, rtol=1e-6, atol=1e-6, msg=row.theirs)
        assert found[name].abs().max() > 1e-6
        compared += 1
    assert compared == len(right)


@pytest.mark.parametrize("name", ["sigmoid", "hinge", "ipo"])
def test_dpo(tmp_path, name):
    (policy, policy_twin), (reference, reference_twin) = both(tmp_path)
    sides = documents()
    couples = list(zip(sides[0::2], sides[1::2], strict=True))
    memory = Memory([np.concatenate([one[0], other[0]]) for one, other in couples])
    memory.masks = [np.concatenate([learned(one), learned(other)]) for one, other in couples]
    memory.cuts = np.array([len(side) for side, _ in sides[0::2]])
    loss = variant("viva.align.preference", name).Config(beta=0.5)
    found = Preference(loss, reference_of(reference))(policy, only(memory, Sides(PAD)))
    theirs = trainer(
        policy_twin, reference_twin, ld_alpha=None, f_divergence_type="reverse_kl", loss_types=[name],
        loss_weights=[1.0], beta=0.5, use_weighting=False, label_smoothing=0.0,
    )  # fmt: skip
    expected = trl.DPOTrainer._compute_loss(theirs, policy_twin, padded(sides[0::2] + sides[1::2]), False)
    assert_same(found.sum / found.count, policy, expected, policy_twin)
    logged = {key: held[0] for key, held in theirs._metrics["train"].items()}
    names = {"logps/chosen": "chosen_log_prob", "logps/rejected": "rejected_log_prob"}
    if name != "ipo":  # whose rewards are sums to trl, though its loss compares means
        names |= {f"rewards/{key}": own for key, own in REWARDS.items()}
    for key, own in names.items():
        assert found.metrics[own] / found.count == pytest.approx(logged[key], rel=1e-6), own


def test_kto(tmp_path):
    (policy, policy_twin), (reference, reference_twin) = both(tmp_path)
    sides, labels = documents()[:6], [1, 0, 0, 1, 1, 0]
    memory = Memory([side for side, _ in sides], lambda d, i: i >= sides[d][1], labels=labels)
    config = kto.Config(beta=0.5, desirable=1.2, undesirable=0.7)
    found = Judgement(config, reference_of(reference))(policy, only(memory, Judged(PAD)))
    theirs = trainer(
        policy_twin, reference_twin, calculate_KL=True, loss_type="kto", beta=0.5, desirable_weight=1.2,
        undesirable_weight=0.7,
    )  # fmt: skip
    theirs._compute_kl_logps = lambda model, batch: trl.KTOTrainer._compute_kl_logps(theirs, model, batch)
    mixed = [
        (np.concatenate([sides[i][0][: sides[i][1]], sides[i - 1][0][sides[i - 1][1] :]]), sides[i][1])
        for i in range(len(sides))
    ]
    given = padded(sides) | {f"KL_{key}": value for key, value in padded(mixed).items()}
    given["label"] = torch.tensor(labels)
    expected = trl.KTOTrainer._compute_loss(theirs, policy_twin, given, False)
    assert theirs._metrics["train"]["kl"][0] > 0
    assert found.metrics["kl"] / found.count == pytest.approx(theirs._metrics["train"]["kl"][0], rel=1e-6)
    assert_same(found.sum / found.count, policy, expected, policy_twin)
