"""Damaged texts are read as transformers' tokenizers of published models read them, and made whole as in the paper."""

import json
import re
import warnings

import pytest
import tokenizers
import transformers
from tokenizers import models, pre_tokenizers, trainers

import viva
from viva.base.errors import Notice, Refusal
from viva.infer import mend
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.tokenizer import Tokenizer

TEXT = "Thank you for inviting me to your party last week. the old cat sleeps in the sun"
SIZES = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}


def t5(path) -> None:
    """A folder as T5 is published: pieces of a Unigram behind a word's border, sentinels, an end token."""
    core = tokenizers.Tokenizer(models.Unigram())
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    specials = ["<pad>", "</s>", "<unk>"]
    core.train_from_iterator(
        [TEXT] * 9, trainers.UnigramTrainer(vocab_size=60, special_tokens=specials, unk_token="<unk>")
    )
    vocab = [tuple(piece) for piece in json.loads(core.to_str())["model"]["vocab"]]
    made = transformers.T5Tokenizer(vocab=vocab, extra_ids=5)
    made.save_pretrained(path)
    config = transformers.T5Config(vocab_size=len(made), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=4)
    transformers.T5ForConditionalGeneration(config).save_pretrained(path)


def as_bart(path) -> None:
    """A folder as BART is published: bytes, <s> text </s>, a mask that takes the space in front of it."""
    learned = byte_bpe.train([TEXT] * 9, byte_bpe.Config(vocab_size=290))
    model = json.loads(learned.core.to_str())["model"]
    roles = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocab = {token: i for i, token in enumerate([*roles[:4], *model["vocab"]])} | {"<mask>": len(model["vocab"]) + 4}
    merges = [tuple(merge) for merge in model["merges"]]
    made = transformers.BartTokenizer(vocab=vocab, merges=merges)
    made.save_pretrained(path)
    config = transformers.BartConfig(
        vocab_size=len(vocab), encoder_attention_heads=2, decoder_attention_heads=2, max_position_embeddings=64, **SIZES
    )
    transformers.BartForConditionalGeneration(config).save_pretrained(path)


PUBLISHED = {
    "t5": (t5, ["Thank you <extra_id_0> me to your party <extra_id_1> week.", "<extra_id_0>the cat<extra_id_1>"]),
    "bart": (as_bart, ["the old <mask> sleeps in<mask>", "<mask> <mask>!", "the old cat"]),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_reads_the_ids_of_transformers(name, tmp_path):
    make, texts = PUBLISHED[name]
    make(tmp_path)
    model, read = viva.load(tmp_path), []
    encode = model.model.encode
    model.model.encode = lambda ids, layout: read.extend(ids.tolist()) or encode(ids, layout)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the model wrote nothing for")  # it has learned nothing
        for text in texts:
            model.mend([text], max_new_tokens=3)
    assert read == [theirs(text).input_ids for text in texts]
    assert any(theirs.convert_tokens_to_ids(mark) in read[0] for mark in ("<extra_id_0>", "<mask>"))


def test_the_begin_token_that_bart_writes_is_no_text(tmp_path):
    as_bart(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    how = mend.mending(Tokenizer.load(tmp_path), "<extra_id_{}>")
    *reply, _ = theirs("the old cat sleeps").input_ids
    assert reply[0] == theirs.bos_token_id
    damaged = how.read(["the old <mask> sleeps"] * 2)
    assert how.whole(damaged, [reply, reply[1:]]) == ["the old cat sleeps"] * 2


def test_figure_2_of_the_paper(tmp_path):
    """ "Thank you <X> me to your party <Y> week." and "<X> for inviting <Y> last <Z>" make the text again; what stands
    behind <Z> is no part of it."""
    t5(tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    how = mend.mending(tokenizer, "<extra_id_{}>")
    damaged = how.read(["Thank you <extra_id_0> me to your party <extra_id_1> week."])
    reply = theirs("<extra_id_0> for inviting <extra_id_1> last <extra_id_2> the sun").input_ids[:-1]
    assert how.whole(damaged, [reply]) == ["Thank you for inviting me to your party last week."]
    with pytest.warns(Notice, match="the model wrote nothing for 1 of 2 sentinels, which stay in the text"):
        [left] = how.whole(damaged, [theirs("<extra_id_0> for inviting").input_ids[:-1]])
    assert left == "Thank you for inviting me to your party<extra_id_1> week."


@pytest.mark.parametrize("sentinel", [3, "<mask>", "<{}{}>"])
def test_a_name_without_a_place_for_the_number_names_no_sentinels(tmp_path, sentinel):
    t5(tmp_path)
    with pytest.raises(
        Refusal, match=rf"must have \{{\}} once, for their number, but found {re.escape(repr(sentinel))}"
    ):
        viva.load(tmp_path).mend(["a <extra_id_0>"], sentinel=sentinel)
