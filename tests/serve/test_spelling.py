"""Log-probabilities name tokens by what each adds to the reply: joined, their bytes are its text."""

import random
import warnings

import openai
import pytest
import tokenizers
from tokenizers import decoders, models, normalizers

import viva
from viva.base.errors import Notice
from viva.infer.engine.pick import Picked
from viva.model import folder
from viva.model.arch import llama
from viva.model.init import initialise
from viva.serve.engine import Engine
from viva.serve.placed import Placing
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


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokens_stand_where_decoding_has_them(name):
    """Random tokens, whole characters and broken ones. A token begins behind the text of those before it, where these
    are text by themselves; one that is not whole lies in the character of its byte, or in one that is broken.
    """
    tokenizer, chance = TOKENIZERS[name], random.Random(name)
    whole = [number for number in range(tokenizer.vocab_size) if number not in tokenizer.specials.values()]
    parts = [number for number in whole if not tokenizer.spelled(number).isascii()] or whole
    met = 0
    for _ in range(300):
        ids = [chance.choice(parts if chance.random() < 0.5 else whole) for _ in range(12)]
        ids += tokenizer.encode("世界") * chance.randint(0, 1)
        text, placing, stream, told = tokenizer.decode(ids), Placing(tokenizer), tokenizer.stream(), []
        for number in ids:
            told += placing.take(Picked(number), stream.push(number), False)
        told += placing.take(None, stream.end(), True)
        assert [(each.picked.token, each.first) for each in told] == [(i, not place) for place, i in enumerate(ids)]
        for place, each in enumerate(told):
            spelled, before = tokenizer.spelled(ids[place], not place), tokenizer.decode(ids[:place])
            own = spelled.decode("utf-8", "ignore")
            if not spelled or each.offset == len(text):
                continue
            if own.encode() == spelled:
                broken = len(spelled) == 1 and text[each.offset] == "\ufffd"  # as all bytes beside one that is broken
                assert broken or (each.offset == len(before) and text.startswith(own, each.offset))
                met += "\ufffd" in before
            else:
                assert text[each.offset] == "\ufffd" or spelled[:1] in text[each.offset].encode()
    assert name == "wordpiece" or met > 100


@pytest.mark.parametrize("stop", ["words t", "ear", "界", " 世", "ds"])
def test_tokens_that_a_stop_string_takes_away_are_not_told(host, stop):
    """Those that are told write the reply, the last one maybe more; none begins behind it. Streams tell the same, so
    does a conversation.
    """
    asked = {"model": "tiny", "max_tokens": 100, "stop": [stop], "seed": 1, "extra_body": {"choice": [SAID]}}
    text = SAID[: SAID.index(stop)]
    (choice,) = host.client().completions.create(**asked, prompt="some", logprobs=1).choices
    events = [
        event.choices[0] for event in host.client().completions.create(**asked, prompt="some", logprobs=1, stream=True)
    ]
    told = choice.logprobs
    assert choice.text == "".join(event.text for event in events) == text
    assert all(offset < len(text) for offset in told.text_offset) and bool(told.tokens) == bool(text)
    for field in ("tokens", "text_offset", "token_logprobs"):
        assert [each for event in events if event.logprobs for each in getattr(event.logprobs, field)] == getattr(
            told, field
        )
    messages = [{"role": "user", "content": "some"}]
    (said,) = host.client().chat.completions.create(**asked, messages=messages, logprobs=True).choices
    *rest, last = [b""] + [bytes(each.bytes) for each in said.logprobs.content]
    assert said.message.content == text and b"".join([*rest, last]).startswith(text.encode())
    assert len(b"".join(rest)) < len(text.encode()) or not text


def test_a_token_that_a_stop_string_cuts_is_told_whole(host):
    """ "learn" is a token of each kind but the byte-level one, which has it with its space too."""
    asked = {"model": "tiny", "prompt": "some", "max_tokens": 100, "stop": ["earn"], "logprobs": 1}
    bias = {str(token): 100 for token in host.engine.model.tokenizer.encode("to learn")}
    (choice,) = host.client().completions.create(**asked, logit_bias=bias, extra_body={"choice": ["to learn"]}).choices
    assert choice.text == "to l" and "".join(choice.logprobs.tokens) == "to learn"


@pytest.mark.parametrize("host", ["wordpiece"], indirect=True)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_form_that_leads_nowhere_is_the_request_s_fault(host, stream):
    """WordPieces of which none is a dot: "words" begins well. Choices that none write are refused before."""
    asked = {"model": "tiny", "prompt": "some", "max_tokens": 20, "temperature": 0, "stream": stream}
    bias, client = {str(host.engine.model.tokenizer.id("words")): 100}, host.client()
    with pytest.raises(openai.APIError, match="regex: no token of the vocabulary can go on with what") as told:
        list(client.completions.create(**asked, logit_bias=bias, extra_body={"regex": "words[.]|to"}))
    assert (told.value.param, told.value.code) == ("regex", "dead_end")
    assert stream or told.value.status_code == 400
    with pytest.raises(openai.BadRequestError, match=r"choice must be of texts .* but found 'words '") as told:
        client.completions.create(**asked, extra_body={"choice": ["words", "words "]})
    assert told.value.param == "choice"
    (choice,) = client.completions.create(**{**asked, "stream": False}, extra_body={"choice": ["to learn"]}).choices
    assert choice.text == "to learn"
