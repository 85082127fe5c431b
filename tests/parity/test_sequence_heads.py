"""What transformers' classes for sequences tell: one class of several, any number of them, or a number; opened from our
folders, ours from theirs.
"""

import json
import warnings

import pytest
import torch
import transformers

import viva
from viva.api import LanguageModel
from viva.base.choice import variant
from viva.base.config import kind
from viva.base.errors import Notice, Refusal
from viva.model import folder
from viva.model.arch import bert, qwen2
from viva.model.head import regress
from viva.model.init import initialise
from viva.model.layout import Layout

ENCODERS = ("bert", "roberta", "xlm_roberta", "distilbert", "albert", "electra")
DECODERS = ("gpt2", "openai_gpt", "llama", "mistral", "qwen2")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "film", "bad", "the", "was"]
TEXTS = ["a good film", "the film was bad"]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
NAMES = {0: "toxic", 1: "obscene", 2: "threat"}


def published(place, **told):
    """A classifier of theirs with its tokenizer."""
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=64, **SIZES, **told)
    model = transformers.BertForSequenceClassification(config).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    model.save_pretrained(place)
    tokenizer = transformers.BertTokenizerFast(vocab={word: number for number, word in enumerate(WORDS)})
    tokenizer.save_pretrained(place)
    return model, tokenizer


def logits(model, tokenizer) -> torch.Tensor:
    """Theirs of each text, [N, labels]."""
    with torch.no_grad():
        return torch.cat([model(**tokenizer(text, return_tensors="pt")).logits for text in TEXTS])


def run(place, told: dict, rows: list[dict], **recipe):
    """A run of ours that goes on from a published classifier."""
    published(place / "m", **told)
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train = {"steps": 1, "batch": 2, "context": 16, "precision": "fp32", "device": "cpu"}
    data = {"kind": "files", "path": str(place / "rows.jsonl")}
    tree = {"out": str(place / "run"), "init": str(place / "m"), "data": data, "objective": "classify", "valid": 0}
    viva.train({**tree, "train": train, **recipe})
    return viva.load(place / "run")


@pytest.mark.parametrize("name", ENCODERS + DECODERS)
def test_a_model_that_tells_a_number_is_transformers_class_of_one_label(name, tmp_path):
    """The head as the objective gives it to the family: the same number by theirs, whose loss is the squared error."""
    family = variant("viva.model.arch", name)
    config = family.TINY.model_copy(update={"head": family.TINY.fitted(regress.Config())})
    ours = initialise(config.spec().build(), 1).eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)) * 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        folder.require_savable(config, ours)
        folder.save(tmp_path / "m", config, ours)
    said = json.loads((tmp_path / "m" / "config.json").read_text())
    assert (said["architectures"], said["num_labels"], said["problem_type"]) == (
        [family.HEADS["classify"]],
        1,
        "regression",
    )
    twin, found = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "m", output_loading_info=True, pad_token_id=None if name in DECODERS else 1
    )
    assert not found["missing_keys"] and not found["unexpected_keys"]
    ids = torch.randint(3, 64, (1, 11), generator=torch.Generator().manual_seed(3))
    number, aim = ours(ids, Layout.packed(((11,),), 11)), torch.tensor([0.7])
    theirs = twin.eval()(ids, labels=aim)
    torch.testing.assert_close(number, theirs.logits[:, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close((number - aim).square().sum(), theirs.loss, atol=1e-5, rtol=1e-5)
    twin.save_pretrained(tmp_path / "theirs")
    assert folder.load(tmp_path / "theirs").model.spec == config.spec()


@pytest.mark.parametrize("told", [{}, {"problem_type": "regression"}], ids=["one-label", "regression"])
def test_a_published_model_of_one_label_tells_its_logit(told, tmp_path):
    """As a ranker of MS MARCO's passages is published."""
    expected = logits(*published(tmp_path, num_labels=1, **told))[:, 0]
    model = viva.load(tmp_path)
    torch.testing.assert_close(torch.tensor(model.value(TEXTS)), expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(Refusal, match=r"found the head regress\. To fix it, load another, or use this one by value"):
        model.classify(TEXTS)


def test_a_published_model_of_one_label_goes_on_to_learn_values(tmp_path):
    rows = [{"text": text, "label": value} for text, value in zip(TEXTS, (0.9, 0.1), strict=True)]
    model = run(tmp_path, {"num_labels": 1}, rows, format={"kind": "classes", "values": True})
    before = viva.load(tmp_path / "m").model.head.out.weight
    assert kind(model.spec.head) == "regress"
    assert 0 < (model.model.head.out.weight - before).abs().max() < 0.01  # one step of the head that was there


def test_a_published_model_of_several_classes_at_once_tells_each_by_itself(tmp_path):
    how = {"id2label": NAMES, "label2id": {name: number for number, name in NAMES.items()}}
    expected = logits(*published(tmp_path / "m", problem_type="multi_label_classification", **how)).sigmoid()
    viva.load(tmp_path / "m").save(tmp_path / "saved")
    for place in (tmp_path / "m", tmp_path / "saved"):
        found = viva.load(place).classify(TEXTS)
        mine = torch.tensor([[each.probabilities[name] for name in NAMES.values()] for each in found])
        torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-5)
        pipe = transformers.pipeline("text-classification", model=str(place), device="cpu")
        assert [each.label for each in found] == [told["label"] for told in pipe(TEXTS)]
        theirs = torch.tensor([[told["score"] for told in row] for row in pipe(TEXTS, top_k=None)])
        torch.testing.assert_close(mine.sort(descending=True).values, theirs, atol=1e-5, rtol=1e-5)


def test_a_head_of_several_classes_at_once_is_no_head_for_one(tmp_path):
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS * 2, [*NAMES.values()] * 2, strict=False)]
    told = {"problem_type": "multi_label_classification", "num_labels": 3}
    with pytest.raises(
        Refusal, match=r"tell one class of each text to learn by this .* found several.*give a new head"
    ):
        run(tmp_path, told, rows)
    model = run(tmp_path, told, rows, head={"kind": "classify", "labels": 3}, out=str(tmp_path / "run"))
    assert not model.spec.head.several
    assert sum(model.classify(TEXTS)[0].probabilities.values()) == pytest.approx(1)


def test_several_numbers_are_refused(tmp_path):
    published(tmp_path, num_labels=3, problem_type="regression")
    with pytest.raises(
        Refusal, match=r"problem_type regression in .* must predict a single number, but found 3 of them"
    ):
        viva.load(tmp_path)


def test_values_for_a_head_that_tells_classes_apart_are_told_the_head_for_them(tmp_path):
    rows = [{"text": text, "label": 0.5} for text in TEXTS]
    form, head = {"kind": "classes", "values": True}, {"kind": "classify", "labels": 3}
    with pytest.raises(Refusal, match=r"but found values, or none at all\. To fix it, set head to regress to predict"):
        run(tmp_path, {"num_labels": 3}, rows, format=form, head=head)


def test_a_folder_of_ours_whose_number_stands_by_our_own_names_is_read(tmp_path):
    """As viva wrote them before it knew that their class is the same."""
    config = bert.TINY.model_copy(update={"head": bert.TINY.fitted(regress.Config())})
    made = LanguageModel(config, initialise(config.spec().build(), 0).eval(), None, "new")
    made.save(tmp_path / "m")
    from safetensors.torch import load_file, save_file

    file, theirs = tmp_path / "m" / "model.safetensors", {"bert.pooler.dense": "head.dense", "classifier": "head.out"}
    held = load_file(file)
    for name, own in theirs.items():
        held |= {f"{own}.{part}": held.pop(f"{name}.{part}") for part in ("weight", "bias")}
    save_file(held, file)
    (tmp_path / "m" / "viva.json").unlink()
    assert all(map(torch.equal, viva.load(tmp_path / "m").model.parameters(), made.model.parameters()))


OTHERS = {  # the class, a small config of it, and the classes that are read
    "bart-mnli": ("BartForSequenceClassification", {"vocab_size": 32, "d_model": 16}, "BartForConditionalGeneration"),
    "t5": (
        "T5ForQuestionAnswering",
        {"vocab_size": 32, "d_model": 16, "d_kv": 4, "d_ff": 16, "num_layers": 1},
        "T5For",
    ),
    "gpt2": (
        "GPT2ForQuestionAnswering",
        {"vocab_size": 32, "n_embd": 16, "n_layer": 1, "n_head": 2},
        "GPT2LMHeadModel",
    ),
    "llama": ("LlamaForQuestionAnswering", {"vocab_size": 32, **SIZES}, "LlamaForCausalLM, LlamaForSequence"),
}


@pytest.mark.parametrize(("name", "sizes", "read"), OTHERS.values(), ids=OTHERS)
def test_a_class_whose_head_is_not_built_is_named(name, sizes, read, tmp_path):
    known = getattr(transformers, name)
    small = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    known(known.config_class(**sizes, **(small if name.startswith("Bart") else {}))).save_pretrained(tmp_path)
    with pytest.raises(Refusal, match=rf"must name a class that is built here: {read}.*, but found {name}\."):
        viva.load(tmp_path)


def test_windows_in_an_order_that_is_not_built_are_said(tmp_path):
    config = transformers.Qwen2Config(
        vocab_size=32, **SIZES, use_sliding_window=True, sliding_window=4, max_window_layers=1
    )
    config.layer_types = ["sliding_attention", "full_attention"]
    transformers.Qwen2ForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(Refusal, match=r"windows in the last layers alone, but found \['sliding_attention', 'full_att"):
        viva.load(tmp_path)


def test_a_key_of_quantisation_that_says_nothing_is_none(tmp_path):
    model = initialise(qwen2.TINY.spec().build(), 0)
    folder.save(tmp_path / "m", qwen2.TINY, model)
    (tmp_path / "m" / "viva.json").unlink()
    file = tmp_path / "m" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "quantization_config": None}))
    assert folder.load(tmp_path / "m").model.spec == qwen2.TINY.spec()
