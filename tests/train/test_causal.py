"""The causal objective against transformers' own loss, for the heads that do more than multiply."""

from functools import partial

import pytest
import torch
import transformers

from viva.base.config import parse
from viva.base.errors import Refusal
from viva.model import folder as checkpoint
from viva.model.arch import gemma2, llama, transfo_xl
from viva.model.head import lm
from viva.model.init import initialise
from viva.model.linear.joined import pieces
from viva.model.recall import Recall
from viva.model.spec import Spec
from viva.model.transformer import Transformer
from viva.train.batch import Batch
from viva.train.loss import IGNORE
from viva.train.objective import causal, dpo, kto, prefix

SEGMENTS = partial(causal.Config, segment=24)  # a whole row at once, so that nothing is recalled


def batch(vocab: int) -> Batch:
    ids = torch.randint(3, vocab, (2, 24), generator=torch.Generator().manual_seed(3))
    targets = torch.cat([ids[:, 1:], torch.full((2, 1), IGNORE)], 1)
    return Batch(ids, targets, ((24,), (24,)))


def test_a_capped_head_is_trained_as_the_twin_trains_it(tmp_path):
    """Gemma 2: the loss, and its gradient by the table that is both embedding and head."""
    ours = initialise(Transformer(gemma2.TINY.spec()), seed=1)
    with torch.no_grad():
        ours.embedding.weight.mul_(20)  # scores that reach the cap
    checkpoint.save(tmp_path / "m", gemma2.TINY, ours)
    twin = transformers.Gemma2ForCausalLM.from_pretrained(tmp_path / "m", attn_implementation="eager")
    given = batch(64)
    loss, expected = causal.Config().build()(ours, given), twin(given.ids, labels=given.ids).loss
    torch.testing.assert_close(loss.sum / loss.count, expected, atol=1e-5, rtol=1e-5)
    (loss.sum / loss.count).backward(), expected.backward()
    mine, theirs = ours.embedding.weight.grad, twin.get_input_embeddings().weight.grad
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_a_text_is_learned_by_segments():
    """Each token after what the segments before left behind: torch's cross-entropy of logits read so by hand."""
    model = initialise(Transformer(transfo_xl.TINY.spec()), seed=1).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)  # so that it matters what is read, and what is recalled
    given = batch(64)
    recall, logits = Recall(transfo_xl.TINY.memory), []
    for ids in given.ids.split(7, 1):
        logits.append(model.logits(model.hidden(ids, recall=recall)))
    logits = torch.cat(logits, 1).flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits, given.targets.flatten(), reduction="sum")
    found = causal.Config(segment=7).build()(model, given)
    torch.testing.assert_close(found.sum, expected, atol=1e-4, rtol=1e-5)
    forgetful = sum(  # each segment by itself
        torch.nn.functional.cross_entropy(model(ids).flatten(0, 1), targets.flatten(), reduction="sum")
        for ids, targets in zip(given.ids.split(7, 1), given.targets.split(7, 1), strict=True)
    )
    assert abs(forgetful - found.sum) > 0.1
    whole = causal.Config(segment=24).build()(model, given)
    assert abs(whole.sum - found.sum) > 1e-3  # what lies further back than is recalled is missing
    with pytest.raises(Refusal, match="one document each, but found several"):
        causal.Config(segment=7).build()(model, Batch(given.ids, given.targets, ((12, 12), (24,))))
    with pytest.raises(Refusal, match="only then, but found a recall, and segment None"):
        causal.Config().require(model)
    with pytest.raises(Refusal, match="only then, but found no recall, and segment 7"):
        causal.Config(segment=7).require(Transformer(gemma2.TINY.spec()))


def test_rows_without_a_target_teach_nothing_by_segments():
    """A sum of 0 with gradients of 0, as of rows that are read whole."""
    model, given = initialise(Transformer(transfo_xl.TINY.spec()), seed=1).train(), batch(64)
    found = causal.Config(segment=7).build()(
        model, Batch(given.ids, torch.full_like(given.targets, IGNORE), given.lengths)
    )
    found.sum.backward()
    assert found.sum.item() == found.count == 0 and not any(
        p.grad.any() for p in model.parameters() if p.grad is not None
    )


@pytest.mark.parametrize("objective", [dpo.Config(), kto.Config()])
def test_a_model_that_recalls_learns_by_segments_alone(objective):
    with pytest.raises(Refusal, match="a model that recalls segments must learn by them, but found the objective"):
        objective.require(Transformer(transfo_xl.TINY.spec()))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"norm": "batchnorm"}, "batchnorm"),
        ({"ffn": {"kind": "moe", "hidden": 16, "experts": 4}}, "the balance of experts"),
        ({"ffn": {"kind": "moe", "hidden": 16, "experts": 4, "balance": 0}}, None),
    ],
)
def test_what_is_reckoned_over_a_batch_is_not_learned_by_segments(changes, found):
    """For the padding behind the shorter rows would count in it."""
    block = {
        "attention": {"heads": 2, "kv_heads": 2, "head_dim": 8, "position": "alibi"},
        "ffn": {"kind": "mlp", "hidden": 16},
    }
    decoder = {"layers": 2, "recall": 8, "blocks": [{**block, "norm": "rmsnorm", **changes}]}
    made = Transformer(parse(Spec, {"vocab": 30, "width": 16, "context": 64, "decoder": decoder}))
    if found is None:
        causal.Config(segment=8).require(made)
        return
    with pytest.raises(
        Refusal, match=f"must reckon nothing over a batch, .* but found {found}. To fix it, use another"
    ):
        causal.Config(segment=8).require(made)


@pytest.mark.parametrize(
    ("objective", "family"), [(causal.Config, llama), (prefix.Config, llama), (SEGMENTS, transfo_xl)]
)
def test_targets_are_smoothed_in_training_alone(objective, family):
    """Read left to right or by segments: torch's cross-entropy with label smoothing, and in evaluation without."""
    model, given = initialise(Transformer(family.TINY.spec()), seed=1), batch(64)
    with torch.no_grad():
        model.embedding.weight.mul_(20)  # scores that are far apart
    loss = objective(smoothing=0.3).build()
    for smoothing in (0.3, 0.0):
        found = loss(model.train(smoothing > 0), given)
        logits = model.logits(model.hidden(given.ids)).flatten(0, 1)
        expected = torch.nn.functional.cross_entropy(
            logits, given.targets.flatten(), reduction="sum", label_smoothing=smoothing
        )
        torch.testing.assert_close(found.sum, expected, atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("head", [lm.Config(bias=True), lm.Config(scaled=True), lm.Config(tied=False, cap=2.0)])
def test_the_objective_trains_the_scores_that_the_model_gives(head):
    """The chunked loss of hidden states, beside torch's of the logits."""
    model = initialise(Transformer(gemma2.TINY.model_copy(update={"head": head}).spec()), seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    given, found = batch(64), []
    for loss in (
        causal.Config().build()(model, given).sum,
        torch.nn.functional.cross_entropy(model(given.ids).flatten(0, 1), given.targets.flatten(), reduction="sum"),
    ):
        model.zero_grad()
        loss.backward()
        found.append((loss, pieces(model, lambda parameter: parameter.grad)))
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-4)
