"""Adapters with a head against their twins in PEFT: what was trained there on a class of transformers' is read here,
what was trained here is opened there, with the same scores; also where the base has no such head.
"""

import json

import peft
import pytest
import torch
import transformers

import viva
from shaken import shaken
from viva.base.errors import Refusal
from viva.model import adapt, adapter, folder
from viva.model.adapt import ia3, lora, p_tuning, prefix, prompt
from viva.model.arch import albert, bert, distilbert, electra, gpt2, llama, roberta
from viva.model.head import classify, masked, span, tag
from viva.model.init import initialise

pytestmark = [pytest.mark.filterwarnings(f"ignore:.*{text}") for text in ("does not say which weights", "holds a head")]
FAMILIES = {f.__name__.rpartition(".")[2]: f for f in (bert, roberta, distilbert, electra, albert, llama, gpt2)}
DECODERS = ("llama", "gpt2")
TARGETS = {"llama": ["q_proj", "v_proj"], "gpt2": ["c_attn"], "distilbert": ["q_lin", "v_lin"]}
CLASSES = {
    "SEQ_CLS": transformers.AutoModelForSequenceClassification,
    "TOKEN_CLS": transformers.AutoModelForTokenClassification,
    "QUESTION_ANS": transformers.AutoModelForQuestionAnswering,
}
HEADS = {"SEQ_CLS": classify.Config(labels=3), "TOKEN_CLS": tag.Config(labels=3), "QUESTION_ANS": span.Config()}
OURS = {
    "lora": lora.Config(rank=2),
    "dora": lora.Config(rank=2, directed=True),
    "ia3": ia3.Config(),
    "prefix": prefix.Config(length=3),
    "prompt": prompt.Config(length=3),
    "p_tuning": p_tuning.Config(length=3, encoder="mlp", hidden=8),
}
MODULES, VIRTUAL = ("lora", "dora", "ia3"), ("prompt", "p_tuning")
QUICK = {"lora": ("bert", "roberta", "albert", "llama"), "prefix": ("bert", "llama"), "prompt": ("gpt2",)}
# What reads no cache there, and whose first state, which they pool, is a virtual token's.
WITHOUT = {"prefix": ("distilbert", "albert")} | dict.fromkeys(VIRTUAL, {*FAMILIES} - {*DECODERS})
CASES = [
    pytest.param(kind, family, marks=[] if family in QUICK.get(kind, ()) else pytest.mark.slow)
    for kind in OURS
    for family in FAMILIES
    if family not in WITHOUT.get(kind, ())
]
IDS = torch.arange(2 * 9).reshape(2, 9) % 50 + 5


def theirs_of(kind, family, task):
    targets = {"target_modules": TARGETS.get(family, ["query", "value"])}
    return {
        "lora": lambda: peft.LoraConfig(task_type=task, r=2, **targets),
        "dora": lambda: peft.LoraConfig(task_type=task, r=2, use_dora=True, **targets),
        "ia3": lambda: peft.IA3Config(task_type=task, feedforward_modules=[], **targets),
        "prefix": lambda: peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=3),
        "prompt": lambda: peft.PromptTuningConfig(task_type=task, num_virtual_tokens=3),
        "p_tuning": lambda: peft.PromptEncoderConfig(task_type=task, num_virtual_tokens=3, encoder_hidden_size=8),
    }[kind]()


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Of each family a folder as it is pretrained and, named `classes`, one that tells three classes apart; BERT's and
    ALBERT's as published, with the layer before a classifier's scores.
    """
    place = tmp_path_factory.mktemp("bases")
    for name, family in FAMILIES.items():
        fields = family.TINY.model_dump() | {"dropout": 0.0, "head": None}
        config = type(family.TINY)(**fields)
        folder.save(place / name, config, initialise(config.spec().build(), 1))
        head = config.fitted(classify.Config(labels=3))
        classes = config.model_copy(update={"head": head})
        folder.save(place / f"{name}-classes", classes, initialise(classes.spec().build(), 2))
    torch.manual_seed(0)
    for name, whole in (("bert", transformers.BertForPreTraining), ("albert", transformers.AlbertForPreTraining)):
        whole.from_pretrained(place / name).save_pretrained(place / f"{name}-published")
    return place


def opened(place, task="SEQ_CLS", **more):
    """Their class of a base; a decoder's pools the last token before the padding, which IDS have not."""
    if task != "QUESTION_ANS":
        more = {"num_labels": 3} | more
    torch.manual_seed(5)
    return CLASSES[task].from_pretrained(place, pad_token_id=1, attn_implementation="eager", **more).eval()


@torch.no_grad()
def scores(twin):
    """Theirs, of the text alone."""
    given = twin(input_ids=IDS, attention_mask=torch.ones_like(IDS))
    found = given.logits if "logits" in given else torch.stack((given.start_logits, given.end_logits), -1)
    return found[:, -IDS.shape[1] :] if found.ndim == 3 else found


@torch.no_grad()
def ours(model):
    return model.model(IDS)


def close(one, other):
    torch.testing.assert_close(one, other, atol=2e-6 * max(1.0, other.abs().max().item()), rtol=0)


def published(bases, family, name=""):
    return bases / f"{family}{name or ('-published' if family in ('bert', 'albert') else '')}"


@pytest.mark.parametrize("base", ["", "-classes"])
@pytest.mark.parametrize("kind, family", CASES)
def test_what_they_trained_with_a_head_computes_the_same(bases, tmp_path, kind, family, base):
    """Also on a base that has another head, as a pretrained one has: task_type says which there is in its place."""
    where = published(bases, family, base)
    twin = shaken(peft.get_peft_model(opened(where), theirs_of(kind, family, "SEQ_CLS"))).eval()
    twin.save_pretrained(tmp_path / "theirs")
    model = viva.load(where, adapter=tmp_path / "theirs")
    expected = scores(twin)
    close(ours(model), expected)
    model.save(tmp_path / "own")
    close(ours(viva.load(where, adapter=tmp_path / "own")), expected)


@pytest.mark.parametrize("kind, family", CASES)
def test_what_we_trained_with_a_head_opens_there(bases, tmp_path, kind, family):
    config = folder.load(bases / family).config
    ours_on(bases / family, config.fitted(HEADS["SEQ_CLS"]), OURS[kind], tmp_path)
    opens_there(bases / family, tmp_path, "SEQ_CLS")


@pytest.mark.parametrize("task", ["TOKEN_CLS", "QUESTION_ANS"])
@pytest.mark.parametrize("kind, family", [("lora", "bert"), ("prefix", "roberta")])
def test_other_heads_go_there_and_come_back(bases, tmp_path, kind, family, task):
    config = folder.load(bases / family).config
    ours_on(bases / family, config.fitted(HEADS[task]), OURS[kind], tmp_path)
    opens_there(bases / family, tmp_path, task)


def test_a_single_label_is_a_number(bases, tmp_path):
    twin = shaken(peft.get_peft_model(opened(bases / "llama", num_labels=1), theirs_of("lora", "llama", "SEQ_CLS")))
    twin.save_pretrained(tmp_path)
    model = viva.load(bases / "llama", adapter=tmp_path)
    assert model.spec.head.labels == 1
    close(ours(model).flatten(), scores(twin).flatten())


@pytest.mark.parametrize(("count", "labels"), [(2, ("no", "yes")), (3, None)])
def test_names_of_other_classes_are_not_those_of_a_new_head(bases, tmp_path, count, labels):
    config = folder.load(bases / "roberta").config
    config = config.model_copy(update={"head": config.fitted(classify.Config(labels=2))})
    named = {"labels": ("no", "yes")}
    folder.save(tmp_path / "base", config, initialise(config.spec().build(), 2), notes=named)
    plain = opened(tmp_path / "base", num_labels=count, ignore_mismatched_sizes=True)
    twin = shaken(peft.get_peft_model(plain, theirs_of("lora", "roberta", "SEQ_CLS"))).eval()
    twin.save_pretrained(tmp_path / "theirs")
    model = viva.load(tmp_path / "base", adapter=tmp_path / "theirs")
    assert model.labels == labels
    close(ours(model), scores(twin))


def test_a_head_that_was_not_trained_goes_with_the_adapter_of_a_class(bases, tmp_path):
    """Theirs keeps it always, and looks for it."""
    config = folder.load(bases / "roberta-classes").config
    ours_on(bases / "roberta-classes", config.head, OURS["lora"], tmp_path, new=False)
    opens_there(bases / "roberta-classes", tmp_path, "SEQ_CLS")


def ours_on(base, head, config, place, new=True):
    """An adapter of ours with that head on the base, in the folder `ours`; in PEFT's form in `peft`."""
    loaded = folder.load(base, head=lambda own: head) if new else folder.load(base)
    model = loaded.model
    adapt.attach(model, config, keep=("head",) if new else ())
    shaken(model)
    what = adapter.Adapter(
        config=config, base=str(base), fingerprint=adapter.fingerprint(base), head=head if new else None
    )
    adapter.save(place / "ours", what, model)
    viva.load(base, adapter=place / "ours").save(place / "peft", peft=True)


def opens_there(base, place, task, expected=None):
    """PEFT and viva read from `peft` what computes `expected`, by default what is in `ours`."""
    expected = ours(viva.load(base, adapter=place / "ours")) if expected is None else expected
    twin = peft.PeftModel.from_pretrained(opened(base, task), place / "peft").eval()
    close(scores(twin), expected)
    close(ours(viva.load(base, adapter=place / "peft")), expected)


@pytest.mark.parametrize("kind", ["prompt", "p_tuning", "prefix", "lora"])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_an_encoder_that_scores_words_goes_there(bases, tmp_path, kind, family):
    base = bases / family
    model = viva.load(base)
    adapt.attach(model.model, OURS[kind])
    shaken(model.model)
    what = adapter.Adapter(config=OURS[kind], base=str(base), fingerprint="")
    adapter.save_as_peft(tmp_path / "peft", model.config, what, model.model)
    plain = transformers.AutoModelForMaskedLM.from_pretrained(base, attn_implementation="eager").eval()
    before = scores(plain)
    after = scores(peft.PeftModel.from_pretrained(plain, tmp_path / "peft").eval())
    assert (after - before).abs().max() > 1e-3
    close(after, ours(model))


@pytest.mark.parametrize("base", ["", "-classes"])
@pytest.mark.parametrize("kind", VIRTUAL)
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_prompt_before_states_that_they_pool_is_refused(bases, tmp_path, family, kind, base):
    """Whatever the head of the base: that of the adapter's class stands in its place, and reads a virtual token."""
    where = published(bases, family, base)
    peft.get_peft_model(opened(where), theirs_of(kind, family, "SEQ_CLS")).save_pretrained(tmp_path)
    must = "virtual tokens are pooled too, but found a head that pools the first of a text's states. .* use prefix"
    with pytest.raises(Refusal, match=must):
        viva.load(where, adapter=tmp_path)


@pytest.mark.parametrize("task, base", [("TOKEN_CLS", "-classes"), ("QUESTION_ANS", "")])
@pytest.mark.parametrize("kind, family", [("prompt", "bert"), ("p_tuning", "roberta")])
def test_a_prompt_before_tokens_that_are_told_one_by_one(bases, tmp_path, kind, family, task, base):
    """Also on a base whose own head pools the first state, which stands no more."""
    where = published(bases, family, base)
    twin = shaken(peft.get_peft_model(opened(where, task), theirs_of(kind, family, task))).eval()
    twin.save_pretrained(tmp_path / "theirs")
    model = viva.load(where, adapter=tmp_path / "theirs")
    close(ours(model), scores(twin))
    model.save(tmp_path / "peft", peft=True)
    opens_there(where, tmp_path, task, ours(model))


def test_what_they_did_not_keep_and_the_base_has_not_is_refused(bases, tmp_path):
    """BERT's pooler, which their class made at random beside a base of masked words."""
    twin = peft.get_peft_model(opened(bases / "bert"), theirs_of("lora", "bert", "SEQ_CLS"))
    twin.save_pretrained(tmp_path)
    with pytest.raises(Refusal, match=r"must be whole, or the base must have .*found no bert.pooler.dense.weight"):
        viva.load(bases / "bert", adapter=tmp_path)


def test_an_adapter_inside_a_head_is_refused(bases, tmp_path):
    plain = transformers.AutoModelForMaskedLM.from_pretrained(bases / "bert")
    peft.get_peft_model(plain, peft.LoraConfig(target_modules=["query", "dense"])).save_pretrained(tmp_path)
    must = (
        r"must be of linear maps in the model's blocks, or those of its head, whole, but found cls.predictions.transf"
    )
    with pytest.raises(Refusal, match=must):
        viva.load(bases / "bert", adapter=tmp_path)


def test_a_head_that_is_no_module_of_theirs_is_refused(bases, tmp_path):
    states = bert.TINY.model_copy(update={"head": None, "dropout": 0.0})
    config = states.model_copy(update={"head": masked.Config()})
    model = initialise(config.spec().build(), 0)
    adapt.attach(model, OURS["lora"], keep=("head",))
    what = adapter.Adapter(config=OURS["lora"], base="base", fingerprint="", head=config.head)
    with pytest.raises(Refusal, match=r"must be a module of their class for PEFT, but found cls.predictions"):
        adapter.save_as_peft(tmp_path / "peft", config, what, model)
    assert not (tmp_path / "peft").exists()


def test_a_head_that_their_class_has_not_is_refused(bases, tmp_path):
    """A classifier of the mean of BERT's states: theirs reads the first."""
    head = classify.Config(labels=3, pool="mean")
    with pytest.raises(
        Refusal, match=r"must be one of a class of transformers for PEFT, but found classify labels=3 pool"
    ):
        ours_on(bases / "bert", head, OURS["lora"], tmp_path)


@pytest.mark.parametrize("family", ["albert", "distilbert"])
def test_a_class_that_reads_no_cache_has_no_prefix_there(bases, tmp_path, family):
    must = f"must read keys and values before a text for a prefix of PEFT's, but found {family}"
    with pytest.raises(Refusal, match=must):
        ours_on(bases / f"{family}-classes", None, OURS["prefix"], tmp_path, new=False)


def test_the_modules_to_keep_stand_as_high_as_they_may(bases, tmp_path):
    said = {}
    for family in ("bert", "roberta", "llama"):
        config = folder.load(bases / family).config
        ours_on(bases / family, config.fitted(HEADS["SEQ_CLS"]), OURS["lora"], tmp_path / family)
        said[family] = json.loads((tmp_path / family / "peft" / "adapter_config.json").read_text())["modules_to_save"]
    assert said == {"bert": ["bert.pooler.dense", "classifier"], "roberta": ["classifier"], "llama": ["score"]}
