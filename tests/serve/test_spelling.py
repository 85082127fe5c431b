"""Log-probabilities name tokens by what each adds to the reply: joined, their bytes are its text."""

import warnings

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers

import viva
from viva.base.errors import Notice
from viva.model import folder
from viva.model.arch import llama
from viva.model.init import initialise
from viva.serve.engine import Engine
from viva.text.tokens.byte_level import BYTES
from viva.text.tokens.learn import byte_bpe, wordpiece
from viva.text.tokens.tokenizer import Tokenizer

from .live import TEXT, served

SAID = "words to learn 世界 words"


def of_words() -> Tokenizer:
    """As SentencePiece makes them: words with their space, which the first of a text loses, and a token a byte."""
    words = ["▁words", "▁to", "▁learn", "▁", "n", "s", "\n"]
    core = tokenizers.Tokenizer(
        models.BPE(
            {token: i for i, token in enumerate(["<unk>", "<s>", "</s>", *BYTES, *words])}, [], byte_fallback=True
        )
    )
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.add_special_tokens(["<unk>", "<s>", "</s>"])
    return Tokenizer(core, {"bos_token": "<s>", "eos_token": "</s>"})


with warnings.catch_warnings():
    warnings.simplefilter("ignore", Notice)
    TOKENIZERS = {
        "byte_bpe": byte_bpe.train([TEXT], byte_bpe.Config(vocab_size=280)),
        "sentencepiece": of_words(),
        "wordpiece": wordpiece.Config(vocab_size=80).learn([TEXT + SAID]),
    }


@pytest.fixture(scope="module", params=TOKENIZERS)
def host(request, tmp_path_factory):
    """A server of a model with a tokenizer of each kind."""
    tokenizer = TOKENIZERS[request.param].with_template("qwen2_5")
    config = llama.TINY.model_copy(update={"vocab": tokenizer.vocab_size, "context": 512})
    where = tmp_path_factory.mktemp("spelled") / "model"
    folder.save(where, config, initialise(config.spec().build(), seed=1), tokenizer, {})
    with served(Engine(viva.load(where), tokens=4096)) as running:
        yield running


def test_the_bytes_of_the_tokens_are_the_reply(host):
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "some"}], "max_tokens": 100, "seed": 1}
    asked |= {"extra_body": {"choice": [SAID]}, "logprobs": True, "top_logprobs": 1}
    (choice,) = host.client().chat.completions.create(**asked).choices
    events = [event.choices[0] for event in host.client().chat.completions.create(**asked, stream=True)]
    streamed = [told for event in events if event.logprobs for told in event.logprobs.content]
    assert choice.message.content == SAID and choice.finish_reason == "stop"
    assert b"".join(bytes(told.bytes) for told in choice.logprobs.content).decode() == SAID
    assert streamed == choice.logprobs.content


def test_an_offset_is_a_place_in_the_text(host):
    """Each token that is whole stands there; one that is a part of a character is within it."""
    asked = {"model": "tiny", "prompt": "some", "max_tokens": 100, "logprobs": 1, "seed": 1}
    asked |= {"extra_body": {"choice": [SAID]}}
    (choice,) = host.client().completions.create(**asked).choices
    events = [event.choices[0] for event in host.client().completions.create(**asked, stream=True)]
    told = choice.logprobs
    assert choice.text == SAID and told.text_offset[-1] == len(SAID) - len(told.tokens[-1])
    for text, offset in zip(told.tokens, told.text_offset, strict=True):
        assert SAID[offset] in "世界" if "\ufffd" in text else SAID.startswith(text, offset)
    assert [offset for event in events if event.logprobs for offset in event.logprobs.text_offset] == told.text_offset
