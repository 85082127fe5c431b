"""Every objective that damages a text: pure in (seed, step), its loss is torch's, and a tiny model learns from it."""

import math
from contextlib import nullcontext

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from viva.base.choice import names, variant
from viva.base.config import parse
from viva.base.errors import Refusal
from viva.model.arch import bart, bert, custom, llama, transfo_xl
from viva.model.head import tag
from viva.model.position import alibi, learned, none, rope, t5
from viva.model.transformer import Transformer
from viva.text.tokens.learn import byte_bpe
from viva.train import start
from viva.train.loss import IGNORE
from viva.train.objective import denoise, detect, distill, infill, masked, permute, prefix, spans
from viva.train.objective._online import Online
from viva.train.recipe import claim

from . import mending
from .runs import job, recipe

FOLDER = "viva.train.objective"

OBJECTIVES = list(mending.FAMILIES)
PREDICTING = [objective for objective in OBJECTIVES if objective is not detect]
KINDS = {objective: objective.__name__.rsplit(".", 1)[-1] for objective in OBJECTIVES}
every_one = pytest.mark.parametrize("objective", OBJECTIVES, ids=KINDS.get)


def tensors(batch):
    """All that a batch says, the mask by what it allows."""
    found = {name: x for name, x in vars(batch).items() if isinstance(x, torch.Tensor)}
    found["lengths"] = torch.tensor([n for row in batch.lengths for n in row])
    if batch.source is not None:
        found["source"] = batch.source.ids
    if batch.mask is not None:
        places = torch.arange(batch.ids.shape[1])
        found["mask"] = batch.mask.allows(places[None], places)
    return found


def same(one, other):
    one, other = tensors(one), tensors(other)
    return one.keys() == other.keys() and all(torch.equal(x, other[name]) for name, x in one.items())


def test_every_objective_with_noise_is_here():
    without = {"causal", "seq2seq", "classify", "tag", "pairs", "similar", "span", "distill", "dpo", "kto", "reward"}
    without |= {name for name in names(FOLDER) if issubclass(variant(FOLDER, name).Config, Online)}
    assert set(KINDS.values()) | without == set(names(FOLDER))


@every_one
def test_a_batch_depends_on_seed_and_step_alone(objective):
    first, again = (mending.data(objective, mending.sentences()) for _ in range(2))
    batches = [first.micro_batches(step)[0] for step in range(4)]
    assert same(batches[3], again.micro_batches(3)[0])
    assert not any(same(batches[0], batch) for batch in batches[1:])
    other = mending.data(objective, mending.sentences(), seed=1)
    assert not any(same(batch, other.micro_batches(0)[0]) for batch in batches)


@every_one
def test_the_noise_of_a_document_is_another_in_the_next_epoch_but_the_same_in_every_evaluation(objective):
    source = mending.data(objective, [mending.sentences(1)[0][:12]], batch=1)
    read = [source.micro_batches(step)[0] for step in range(8)]  # the same document each time
    assert any(not same(read[0], batch) for batch in read[1:])
    assert all(same(one, other) for one, other in zip(source.once(), source.once(), strict=True))


@every_one
def test_accumulation_reads_the_same(objective):
    """What is drawn for a row does not depend on the rows beside it."""
    whole, parts = (mending.data(objective, mending.sentences(), batch=b, accumulate=4 // b) for b in (4, 1))
    [batch], split = whole.micro_batches(2), parts.micro_batches(2)
    learned = lambda b: b.targets[b.targets != IGNORE].tolist()  # noqa: E731
    assert learned(batch) == [target for part in split for target in learned(part)]


@every_one
def test_rows_stay_within_the_context(objective):
    long = [document * 3 for document in mending.sentences()]
    for batch in mending.data(objective, long).once():
        assert int(batch.layout.end) <= mending.CONTEXT
        mending.model(objective).eval()  # learned positions would refuse a longer one
        objective.Config().build(mending.data(objective, long).documents)(mending.model(objective), batch)


@pytest.mark.parametrize("objective", PREDICTING, ids=KINDS.get)
def test_the_loss_is_torchs_cross_entropy_of_all_logits(objective):
    found = mending.model(objective)
    [batch] = mending.data(objective, mending.sentences(), batch=4).micro_batches(0)
    memory = found.encode(batch.source.ids, batch.source.layout) if batch.source else None
    if found.head.bias is not None:
        torch.nn.init.normal_(found.head.bias)
    logits = found(batch.ids, batch.layout, memory=memory).flatten(0, 1)
    expected = cross_entropy(logits, batch.targets.flatten(), ignore_index=IGNORE, reduction="sum")
    result = objective.Config().build()(found, batch)
    torch.testing.assert_close(result.sum, expected, rtol=1e-5, atol=1e-4)
    assert result.count == int((batch.targets != IGNORE).sum()) > 0
    ours, theirs = (torch.autograd.grad(x, list(found.parameters()), retain_graph=True) for x in (result.sum, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_the_loss_of_detection_is_torchs_binary_cross_entropy():
    found = mending.model(detect)
    source = mending.data(detect, mending.sentences(), batch=4)
    [batch] = source.micro_batches(0)
    scores, real = found(batch.ids, batch.layout), batch.targets != IGNORE
    expected = binary_cross_entropy_with_logits(scores, batch.targets.float(), weight=real.float(), reduction="sum")
    result = detect.Config().build()(found, batch)
    torch.testing.assert_close(result.sum, expected)
    assert result.count == batch.tokens
    assert result.metrics["accuracy"] == int(((scores > 0) == (batch.targets == 1))[real].sum())


@pytest.mark.parametrize("objective", [masked, permute], ids=KINDS.get)
def test_accuracy_is_told_in_evaluation(objective):
    found = mending.model(objective).eval()
    [batch] = mending.data(objective, mending.sentences(), batch=4).micro_batches(0)
    guesses = found(batch.ids, batch.layout).argmax(-1)
    assert objective.Config().build()(found, batch).metrics == {"accuracy": int((guesses == batch.targets).sum())}


BLIND = math.log(len(mending.LETTERS))  # the loss of a letter for who does not see the others


@every_one
def test_a_model_learns_what_is_not_to_be_had_without_context(objective):
    """The letter of a document is one of 16, so without sight of the others a guess costs log 16 = 2.77 nats, and the
    model must come below half of that. Whether a letter was replaced, in 15 % of its places by another in 15 of 16
    cases, costs the entropy of 0.15 15 / 16; 12 of 14 tokens are letters, and nothing replaces the others."""
    found, before, loss = mending.learn(objective, 500 if objective is detect else 120)
    if objective is detect:
        share = 0.15 * 15 / 16
        bound = -12 / 14 * (share * math.log(share) + (1 - share) * math.log(1 - share))
        assert loss < 0.85 * bound
    else:
        assert loss < BLIND / 2
    still = {name for name, p in found.named_parameters() if torch.equal(p.detach(), before[name])}
    assert still == set()


DECODER, ENCODER, BOTH = (
    family.Config(vocab=64, **mending.SIZES).spec() for family in (llama, bert, bart)
)  # one of each shape


@pytest.mark.parametrize(
    ("objective", "spec", "says"),
    [
        (masked, DECODER, "a model must be an encoder to guess masked words from both sides, but found a decoder"),
        (masked, BOTH, "must be an encoder to guess masked words from both sides, but found an encoder and a decoder"),
        (masked, ENCODER.model_copy(update={"head": tag.Config(labels=2)}), "must score its vocabulary"),
        (permute, DECODER, "a model must be an encoder to see what comes before in any order, but found a decoder"),
        (detect, DECODER, "a model must be an encoder to tell from both sides what was replaced"),
        (detect, ENCODER, "must have a score for each token to tell what was replaced, but found the head masked"),
        (spans, ENCODER, "must have an encoder and a decoder"),
        (denoise, DECODER, "must have an encoder and a decoder"),
        (infill, ENCODER, "a model must be a decoder to predict the next token"),
        (prefix, BOTH, "a model must be a decoder to predict the next token"),
    ],
)
def test_a_model_of_another_shape_is_refused(objective, spec, says):
    with pytest.raises(Refusal, match=says):
        objective.Config().require(Transformer(spec))


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        (masked, "a tokenizer must have a mask_token for this objective, but found none.*tokenizer.mask"),
        (permute, "a tokenizer must have a mask_token"),
        (denoise, "a tokenizer must have a mask_token"),
        (spans, "a tokenizer must have sentinels for spans, but found no token <extra_id_0>"),
        (infill, "a tokenizer must have a prefix_token for this objective, but found none.*tokenizer.gap"),
    ],
)
def test_a_tokenizer_without_the_tokens_is_refused(objective, says):
    plain = byte_bpe.train(["some words"] * 3, byte_bpe.Config(vocab_size=270))
    with pytest.raises(Refusal, match=says):
        objective.Config().reading(plain)


@pytest.mark.parametrize(
    ("objective", "fields", "says"),
    [
        (denoise, {"mean": 0.001}, "mean: Input should be greater than or equal to 0.1"),
        (denoise, {"mean": 1e20}, "mean: Input should be less than or equal to 1000000"),
        (spans, {"sentinel": "<{}{}>"}, "sentinel: String should match pattern"),
        (spans, {"sentinel": "<{foo}>{}"}, "sentinel: String should match pattern"),
    ],
)
def test_fields_that_cannot_be_used_are_refused(objective, fields, says):
    with pytest.raises(Refusal, match=says):
        parse(objective.Config, fields)


@pytest.mark.parametrize("objective", [spans, denoise, infill], ids=KINDS.get)
def test_documents_that_are_learned_in_part_are_refused(objective):
    source = mending.data(objective, mending.sentences())
    source.documents.masks[0][:4] = False
    with pytest.raises(Refusal, match="documents must be learned whole for this objective"):
        list(source.once())


def placed_encoder(entry, position) -> Transformer:
    """BERT's shape with these positions on the embeddings and inside attention."""
    stack = ENCODER.encoder
    block = stack.blocks[0]
    block = block.model_copy(update={"attention": block.attention.model_copy(update={"position": position})})
    entry = stack.entry.model_copy(update={"position": entry})
    return Transformer(
        ENCODER.model_copy(update={"encoder": stack.model_copy(update={"entry": entry, "blocks": (block,)})})
    )


def test_a_query_must_say_which_place_it_asks_for():
    """By its own place: a distance to the slot where it stands says nothing, nor do no positions at all."""
    for entry, position, found in (
        (learned.Config(), alibi.Config(), "alibi"),
        (none.Config(), t5.Config(), "t5"),
        (none.Config(), none.Config(), "none"),
    ):
        with pytest.raises(Refusal, match=rf"positions must be told by the token's place.*found {found}\."):
            permute.Config().require(placed_encoder(entry, position))
    for entry, position in ((learned.Config(), none.Config()), (none.Config(), rope.Config())):
        permute.Config().require(placed_encoder(entry, position))


def test_a_prefix_is_read_in_one_row(tmp_path):
    """By segments its mask would be ignored: there is no such field, and no model that needs it."""
    with pytest.raises(Refusal, match="segment"):
        recipe(tmp_path, {"objective": {"kind": "prefix", "segment": 8}})
    with pytest.raises(
        Refusal, match="a model that recalls segments must learn by them, but found the objective prefix"
    ):
        prefix.Config().require(Transformer(transfo_xl.TINY.spec()))
    with pytest.raises(Refusal, match=r"but found the objective distill\. To fix it, use causal with a segment"):
        distill.Config(teacher="any").require(Transformer(transfo_xl.TINY.spec()))


def test_a_prefix_is_for_models_that_keep_keys():
    """A prefix seen both ways cannot be gone on from by sums."""
    tiny = custom.TINY
    for score, refused in (("linear", True), ("dot", False)):
        block = tiny.decoder.blocks[0]
        attention = block.attention.model_copy(update={"score": variant("viva.model.score", score).Config()})
        decoder = tiny.decoder.model_copy(update={"blocks": (block.model_copy(update={"attention": attention}),)})
        model = Transformer(tiny.model_copy(update={"decoder": decoder}).spec())
        with pytest.raises(Refusal, match=r"to go on from a prefix .* sums of linear") if refused else nullcontext():
            prefix.Config().require(model)


BART = {"kind": "bart", "width": 16, "layers": 1, "heads": 2, "hidden": 24, "context": 40}


@pytest.mark.parametrize("kind", ["denoise", "spans"])
def test_the_decoder_begins_as_the_models_replies_do(tmp_path, kind):
    """Ids 0 and 1 are <|endoftext|> and <|pad|>. A new model takes over the one its targets begin with."""
    fields = {"model": BART, "tokenizer": {"vocab_size": 310, "mask": True, "sentinels": 40}, "objective": kind}
    with pytest.raises(Refusal, match=r"begin with the id 1, .* but found 0.*set objective\.start to '<\|pad\|>'"):
        job(tmp_path, fields | {"model.start": 1}, "other")
    named = fields | {"model.start": 1, "objective": {"kind": kind, "start": "<|pad|>"}}
    [batch] = job(tmp_path, named, "named")[0].data.micro_batches(0)
    firsts = torch.tensor(batch.lengths[0]).cumsum(0)[:-1]
    assert batch.ids[0, 0] == 1 and (batch.ids[0, firsts] == 1).all()
    made = recipe(tmp_path, fields, "new")
    assert start.parts(made, claim(made)).config.start == 0


def test_a_model_without_attention_is_refused_for_permutations():
    from viva.model.arch import rnn

    spec = rnn.Config(vocab=64, width=16, layers=1, parts="encoder", context=8, tied=False).spec()
    with pytest.raises(Refusal, match="a model must attend to read in any order"):
        permute.Config().require(spec.build())


def test_shares_that_exceed_the_whole_are_refused():
    with pytest.raises(Refusal, match=r"at most 1 together, but found 0\.8 \+ 0\.3"):
        masked.Config(random=0.3)
    with pytest.raises(Refusal, match="a text must be damaged to be mended"):
        denoise.Config(permute=False, infill=0)


def test_variants_are_reached_by_name():
    assert all(variant("viva.train.objective", kind) is objective for objective, kind in KINDS.items())
