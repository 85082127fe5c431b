"""What stands around a text: transformers, with the tokenizer of a folder, gives a model what viva gives it, and writes
the same.
"""

import json
import shutil

import pytest
import tokenizers
import torch
import transformers
from tokenizers import processors
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

import viva
from viva.api import LanguageModel, located
from viva.base.config import kind, parse
from viva.infer import mend
from viva.model.arch import llama
from viva.model.init import initialise
from viva.text.rows.format import parallel
from viva.text.rows.row import Row
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.tokenizer import Tokenizer
from viva.train import start
from viva.train.objective import denoise, spans
from viva.train.recipe import Recipe

SOURCES = ["der Hund sieht die Katze", "ein Mann läuft", "der rote Baum und die Frau", "die Katze läuft"]
TARGETS = ["the dog sees the cat", "a man runs", "the red tree and the woman", "the cat runs"]
TALK = [{"role": "user", "content": "what runs?"}]
SIZES = {"width": 32, "layers": 1, "heads": 4, "hidden": 48, "context": 64}
TRAIN = {"steps": 40, "batch": 4, "context": 64, "lr": 1e-2, "precision": "fp32", "device": "cpu"}


def trained(family: str, place, **recipe) -> LanguageModel:
    tree = {"out": str(place / "run"), "model": {"kind": family, **SIZES}, "tokenizer": {"vocab_size": 290}}
    viva.train({**tree, "train": TRAIN, "valid": 0, **recipe})
    return viva.load(place / "run")


def saved(model: LanguageModel, place, auto):
    """The folder's tokenizer and model as transformers opens them."""
    model.save(place)
    return AutoTokenizer.from_pretrained(place), auto.from_pretrained(place).eval()


def translations(model, texts: list[str], beams: int) -> list[str]:
    """By the same search as transformers' with a length penalty of 0."""
    how = {"temperature": 0} if beams == 1 else {"length_penalty": 0}
    return model.translate(texts, beams=beams, max_new_tokens=12, **how)


def theirs(twin, tokenizer, texts: list[str], beams: int, forced: int = 0) -> list[str]:
    """Their maximum counts the tokens that are forced."""
    how = {"num_beams": beams, "do_sample": False, "length_penalty": 0.0, "max_new_tokens": 12 + forced}
    found = [twin.generate(**tokenizer(text, return_tensors="pt"), **how)[0] for text in texts]
    return [tokenizer.decode(ids, skip_special_tokens=True) for ids in found]


@pytest.mark.parametrize("kind", ["marian", "t5", "bart"])
def test_a_translation_model_of_ours_translates_alike_in_transformers(kind, tmp_path):
    (tmp_path / "a.de").write_text("\n".join(SOURCES) + "\n")
    (tmp_path / "a.en").write_text("\n".join(TARGETS) + "\n")
    data = {"kind": "parallel", "source": str(tmp_path / "a.de"), "target": str(tmp_path / "a.en")}
    model = trained(kind, tmp_path, data=data, format="parallel", objective="seq2seq")
    tokenizer, twin = saved(model, tmp_path / "saved", AutoModelForSeq2SeqLM)
    end = model.tokenizer.eos_id
    assert [tokenizer(text).input_ids for text in SOURCES] == [[*model.tokenizer.encode(s), end] for s in SOURCES]
    greedy = translations(model, SOURCES, 1)
    assert greedy == theirs(twin, tokenizer, SOURCES, 1)
    assert len({*greedy}) > 1  # what is read matters
    assert translations(model, SOURCES, 3) == theirs(twin, tokenizer, SOURCES, 3)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_decoder_of_ours_goes_on_alike_in_transformers(kind, tmp_path):
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TARGETS))
    model = trained(kind, tmp_path, data={"kind": "files", "path": str(tmp_path / "texts.jsonl")})
    tokenizer, twin = saved(model, tmp_path / "saved", AutoModelForCausalLM)
    for text in ("the dog", "a man", "the cat sees"):
        ids = tokenizer(text, return_tensors="pt")
        assert ids.input_ids[0].tolist() == [model.tokenizer.bos_id, *model.tokenizer.encode(text)] == model.ids(text)
        found = twin.generate(**ids, do_sample=False, max_new_tokens=12)[0, ids.input_ids.shape[1] :]
        expected = tokenizer.decode(found, skip_special_tokens=True)
        assert model.generate(text, temperature=0, max_new_tokens=12) == expected
    opened = tokenizer.apply_chat_template(TALK, add_generation_prompt=True)["input_ids"]
    assert opened == model.ids(TALK)  # whose template says itself how a conversation begins
    checkpoint = Tokenizer.load(located(tmp_path / "run"))
    assert checkpoint.fingerprint == Tokenizer.load(tmp_path / "run" / "tokenizer").fingerprint  # as resuming asks
    whole = checkpoint.encode_framed(["the dog"])[0].ids  # and a classifier made of it reads as ever
    assert whole == [checkpoint.bos_id, *checkpoint.encode("the dog"), checkpoint.eos_id]


def published(place, post_processor, model) -> None:
    """A folder of theirs with a tokenizer whose post-processor is the published one of its family."""
    core = tokenizers.Tokenizer(tokenizers.models.BPE())
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = tokenizers.decoders.ByteLevel()
    specials, alphabet = ["<s>", "<pad>", "</s>", "<unk>"], tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, special_tokens=specials, initial_alphabet=alphabet)
    core.train_from_iterator(SOURCES + TARGETS, trainer)
    core.post_processor = post_processor
    roles = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=core, **roles).save_pretrained(place)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    model.eval().save_pretrained(place)


@pytest.fixture
def bart(tmp_path):
    """`<s> text </s>`, and a reply that begins with </s> and is forced to go on with <s>."""
    config = transformers.BartConfig(
        vocab_size=300, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=64,
    )  # fmt: skip
    model = transformers.BartForConditionalGeneration(config)
    model.generation_config.forced_bos_token_id = 0
    model.generation_config.forced_eos_token_id = None
    published(tmp_path / "bart", processors.RobertaProcessing(("</s>", 2), ("<s>", 0)), model)
    return tmp_path / "bart"


def test_a_published_bart_reads_and_writes_as_in_transformers(bart, tmp_path):
    model, tokenizer = viva.load(bart), AutoTokenizer.from_pretrained(bart)
    ours = saved(model, tmp_path / "again", AutoModelForSeq2SeqLM)  # what we write of it is read alike
    for tokens, twin in ((tokenizer, AutoModelForSeq2SeqLM.from_pretrained(bart).eval()), ours):
        assert tokens(SOURCES[0]).input_ids == [0, *model.tokenizer.encode(SOURCES[0]), 2]
        for beams in (1, 3):
            assert translations(model, SOURCES, beams) == theirs(twin, tokens, SOURCES, beams, forced=1)
    assert len({*translations(model, SOURCES, 1)}) > 1


def test_what_bart_is_taught_are_transformers_ids(bart):
    """Source and labels as the tokenizer frames them; the decoder reads the labels shifted behind the start."""
    row = Row({"source": SOURCES[0], "target": TARGETS[0]}, "row 1")
    example = parallel.Config(start="</s>").example(row, Tokenizer.load(bart))
    both = AutoTokenizer.from_pretrained(bart)(SOURCES[0], text_target=TARGETS[0])
    assert example.ids[: example.cut] == both["input_ids"]
    assert example.ids[example.cut :] == [2, *both["labels"]]
    assert [learned for _, learned in zip(both["labels"], example.mask[example.cut + 1 :], strict=True)] == (
        [True] * len(both["labels"])
    )


LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "vocab_size": 300,
}
BYTES = processors.ByteLevel(trim_offsets=True)  # sets nothing, as in GPT-2 and Qwen2


def template(single: str):
    return processors.TemplateProcessing(single=single, special_tokens=[("<s>", 0), ("</s>", 2)])


@pytest.mark.parametrize(
    ("single", "expected", "trained"),
    [
        ("<s> $A", [0], [0]),
        ("</s> <s> $A", [2, 0], [2, 0]),
        ("<s> $A </s>", [0], [0]),
        ("$A </s>", [], [0]),
        (None, [], [0]),
    ],
)
def test_a_published_decoder_reads_what_its_tokenizer_sets_before_a_text(single, expected, trained, tmp_path):
    """What would stand behind a prompt is for the model to write. Its tokenizer stays as it is until viva trains the
    model, on documents that begin and end: then the folder says what stands before a prompt.
    """
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA))
    published(tmp_path / "llama", BYTES if single is None else template(single), model)
    ours, theirs = viva.load(tmp_path / "llama"), AutoTokenizer.from_pretrained(tmp_path / "llama")
    plain = ours.tokenizer.encode(TARGETS[0])
    assert ours.ids(TARGETS[0]) == [*expected, *plain]
    assert ours.ids("") == (expected or [0])  # from nothing, as transformers begins
    ours.save(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    if single is None or single.endswith("$A"):
        assert ours.ids(TARGETS[0]) == theirs(TARGETS[0]).input_ids == again(TARGETS[0]).input_ids
    files = [json.loads((tmp_path / name / "tokenizer.json").read_text()) for name in ("llama", "saved")]
    assert files[0] == files[1]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TARGETS))
    data = {"kind": "files", "path": str(tmp_path / "texts.jsonl")}
    recipe = {"out": str(tmp_path / "run"), "init": str(tmp_path / "llama"), "data": data, "valid": 0}
    viva.train({**recipe, "train": {**TRAIN, "steps": 1}})
    went_on, folder = viva.load(tmp_path / "run"), located(tmp_path / "run")
    told = AutoTokenizer.from_pretrained(folder)(TARGETS[0]).input_ids
    assert went_on.ids(TARGETS[0]) == told == [*trained, *plain]
    went_on.save(tmp_path / "copied")
    assert viva.load(tmp_path / "copied").ids(TARGETS[0]) == told


@pytest.mark.parametrize("frame", [BYTES, template("<s> $A")], ids=["nothing", "begin"])
def test_a_published_classifier_by_the_last_token_reads_what_its_tokenizer_sets(frame, tmp_path):
    """Before and after viva trains it further: the class is told by the last token of the text itself."""
    config = transformers.LlamaConfig(**LLAMA, num_labels=3, pad_token_id=1)
    published(tmp_path / "llama", frame, transformers.LlamaForSequenceClassification(config))
    rows = [{"text": text, "label": str(number % 3)} for number, text in enumerate(TARGETS)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"kind": "files", "path": str(tmp_path / "rows.jsonl")}
    recipe = {"out": str(tmp_path / "run"), "init": str(tmp_path / "llama"), "data": data, "valid": 0}
    read = AutoTokenizer.from_pretrained(tmp_path / "llama")(TARGETS[0]).input_ids
    viva.train({**recipe, "objective": "classify", "train": {**TRAIN, "steps": 2}})
    viva.load(tmp_path / "run").save(tmp_path / "saved")
    for folder in (tmp_path / "llama", located(tmp_path / "run"), tmp_path / "saved"):
        tokens = AutoTokenizer.from_pretrained(folder)
        twin = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
        assert tokens(TARGETS[0]).input_ids == read
        for text, found in zip(TARGETS, viva.load(folder).classify(TARGETS), strict=True):
            expected = twin(**tokens(text, return_tensors="pt")).logits.softmax(-1)[0]
            torch.testing.assert_close(torch.tensor([*found.probabilities.values()]), expected, atol=1e-5, rtol=1e-5)


def test_a_run_whose_tokenizers_files_do_not_say_what_viva_framed_is_read_as_it_was_trained(tmp_path):
    """viva.json says it by its fingerprint."""
    published(tmp_path / "m", BYTES, transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)))
    tokenizer = Tokenizer.load(tmp_path / "m").for_training
    whole = [0, *tokenizer.encode("the dog"), 2]
    assert tokenizer.encode_framed(["the dog"])[0].ids == whole
    config = llama.TINY.model_copy(update={"vocab": 300})
    LanguageModel(config, initialise(config.spec().build(), 0).eval(), tokenizer, "new").save(tmp_path / "old")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tmp_path / "m" / name, tmp_path / "old" / name)
    manifest = json.loads((tmp_path / "old" / "viva.json").read_text())
    manifest["files"] = {}
    (tmp_path / "old" / "viva.json").write_text(json.dumps(manifest))
    assert viva.load(tmp_path / "old").tokenizer.encode_framed(["the dog"])[0].ids == whole


@pytest.mark.parametrize("objective", [denoise, spans], ids=["denoise", "spans"])
def test_what_bart_learns_to_mend_is_framed_as_transformers_frames_it(objective, bart, tmp_path):
    """Source and labels alike, and the decoder reads the labels shifted behind the start. `mend` then reads and begins
    so. A text of one sentence is not changed by permuting sentences; spans are left out of both sides.
    """
    tokens, twin = AutoTokenizer.from_pretrained(bart), transformers.BartForConditionalGeneration.from_pretrained(bart)
    tokens.add_special_tokens({"mask_token": "<mask>", "additional_special_tokens": ["<extra_id_0>", "<extra_id_1>"]})
    twin.resize_token_embeddings(len(tokens), mean_resizing=False)
    tokens.save_pretrained(bart), twin.save_pretrained(bart)
    (tmp_path / "texts.jsonl").write_text(json.dumps({"text": TARGETS[0]}) + "\n")
    fields = {"infill": 0} if objective is denoise else {}
    recipe = parse(Recipe, {
        "out": str(tmp_path / "run"), "init": str(bart), "valid": 0, "train": TRAIN,
        "data": {"kind": "files", "path": str(tmp_path / "texts.jsonl")},
        "objective": {"kind": kind(objective.Config()), "start": "</s>", **fields},
    })  # fmt: skip
    [batch] = start.parts(recipe, tmp_path).train.micro_batches(0)
    n, m = batch.source.lengths[0][0], batch.lengths[0][0]
    source, read, labels = batch.source.ids[0, :n].tolist(), batch.ids[0, :m].tolist(), batch.targets[0, :m].tolist()
    if objective is denoise:
        both = tokens(TARGETS[0], text_target=TARGETS[0])
    else:
        left = tokens.decode(source[1:-1])
        both = tokens(left, text_target=tokens.decode(labels[1:-1]))
        assert "<extra_id_0>" in left
    assert (source, labels) == (both["input_ids"], both["labels"])
    assert [read] == twin.prepare_decoder_input_ids_from_labels(torch.tensor([labels])).tolist()
    model = viva.load(bart)
    how = mend.mending(model.tokenizer, "<extra_id_{}>")
    text = "the <extra_id_0> sees"
    assert how.framed(how.read([text])) == [tokens(text).input_ids]
    assert model._start == read[:2]


def test_a_byte_level_tokenizer_keeps_its_offsets_where_a_frame_is_added(tmp_path):
    made = byte_bpe.train(SOURCES * 3, byte_bpe.Config(vocab_size=290))
    made.core.post_processor = processors.ByteLevel(trim_offsets=True)
    config = llama.TINY.model_copy(update={"vocab": made.vocab_size})
    LanguageModel(config, initialise(config.spec().build(), 0).eval(), made, "new").save(tmp_path / "m")
    said = json.loads((tmp_path / "m" / "tokenizer.json").read_text())["post_processor"]
    assert [part["type"] for part in said["processors"]] == ["ByteLevel", "TemplateProcessing"]
    assert Tokenizer.load(tmp_path / "m").core.to_str() == made.core.to_str()
