"""Forms of replies by tokens that cannot write everything, as WordPiece's: what no reply can be is refused ahead, what
leads nowhere is told as what it is, and the rest is written to its end.
"""

import itertools
import re

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from infer.serving import ran, random_model
from infer.test_grammar import of_words
from viva.base.errors import Refusal
from viva.infer.engine.asked import Asked
from viva.infer.engine.draft import ngram
from viva.infer.engine.engine import Core
from viva.infer.engine.schedule import Limits
from viva.model.arch import llama
from viva.text.tokens.tokenizer import Tokenizer


def of_pieces(*pieces: str) -> Tokenizer:
    """A WordPiece: words have their space, and go on by pieces that begin with ##."""
    vocab = {token: number for number, token in enumerate(["[UNK]", "[SEP]", *pieces])}
    core = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    core.pre_tokenizer, core.decoder = pre_tokenizers.WhitespaceSplit(), decoders.WordPiece(cleanup=False)
    core.add_special_tokens(["[UNK]", "[SEP]"])
    return Tokenizer(core, {"eos_token": "[SEP]"})


def core_of(tokenizer: Tokenizer, draft: bool = False) -> Core:
    config = llama.TINY.model_copy(update={"vocab": tokenizer.vocab_size, "context": 256})
    model = random_model(config.spec(), noise=0.15)
    guess = ngram.Config().build(model.spec, None) if draft else None
    return Core({"": model}, tokenizer, 600, 16, Limits(48, 1024, 256), guess)


PIECES = ("a", "ab", "c", "##b", "##bc", "##ca")


def test_a_choice_is_refused_where_no_tokens_write_it_and_comes_to_its_end_where_some_do():
    """What can be written is what decoding gives of all rows of up to four tokens; "abc" goes by a, ##bc alone."""
    tokenizer = of_pieces(*PIECES)
    numbers = [tokenizer.id(piece) for piece in PIECES]
    rows = itertools.chain.from_iterable(itertools.product(numbers, repeat=n) for n in (1, 2, 3, 4))
    writable = {tokenizer.decode(list(row)) for row in rows}
    texts = ["".join(row) for n in (1, 2, 3, 4) for row in itertools.product("abc ", repeat=n)]
    core, able = core_of(tokenizer), []
    for text in texts:
        if text in writable:
            able.append(text)
            continue
        with pytest.raises(Refusal, match=f"choice must be of texts .* but found {re.escape(repr(text))}. To fix it"):
            core.add([2], Asked(choice=[text, "ab"]))
    assert core.idle and "abc" in able and len(able) > 30
    told = ran(core, [([2], Asked(choice=able, temperature=2.0, seed=seed, max_new_tokens=9)) for seed in range(200)])
    assert {each.finish for each in told} == {"stop"} and {each.text for each in told} <= set(able)
    assert len({each.text for each in told}) > 15
    alone = ran(core, [([2], Asked(choice=[text], temperature=2.0, seed=s)) for text in able for s in range(5)])
    assert [(each.text, each.finish) for each in alone] == [(text, "stop") for text in able for _ in range(5)]


def test_guesses_are_held_to_a_choice_and_change_nothing():
    tokenizer = of_pieces(*PIECES)
    asked = Asked(choice=["abc abc abc abc abc", "abc abc abc c", "ab c"], temperature=0.9, n=8, seed=1, logprobs=1)
    guessed = core_of(tokenizer, draft=True)
    assert ran(guessed, [([2, 4, 3, 7, 3, 7], asked)]) == ran(core_of(tokenizer), [([2, 4, 3, 7, 3, 7], asked)])
    assert guessed.counters.drafted > 0


def test_an_expression_is_not_followed_where_no_token_goes():
    """Two blanks are no token's: the other way is taken, each time."""
    tokenizer = of_pieces("to", "learn", "words", "t", "##o")
    asks = [([2], Asked(regex="to( learn|  words)", temperature=1.5, seed=seed)) for seed in range(30)]
    assert {(each.text, each.finish) for each in ran(core_of(tokenizer), asks)} == {("to learn", "stop")}


def test_json_by_tokens_that_have_no_bytes():
    tokenizer = of_pieces("{", '"', "##a", '##"', ":", "1", "}", "##1", "##}")
    schema = {"type": "object", "properties": {"a": {"enum": [1, 11]}}, "required": ["a"]}
    schema["additionalProperties"] = False
    asks = [([2], Asked(json_schema=schema, temperature=1, seed=seed)) for seed in range(9)]
    told = ran(core_of(tokenizer), asks)
    assert {each.finish for each in told} == {"stop"}
    assert {re.sub(r"\s", "", each.text) for each in told} <= {'{"a":1}', '{"a":11}'}


def test_an_expression_that_leads_nowhere_is_told_as_such():
    """Behind `ab` no piece is `c`, which nobody sees ahead: the request is at fault, and not the model."""
    core = core_of(of_pieces(*PIECES))
    asks = [([2], Asked(regex="abc", temperature=1.0, seed=seed)) for seed in range(40)]
    steps = []
    for prompt, asked in asks:
        core.add(prompt, asked)
        steps.append(list(core.run())[-1])
    ends = {(delta.finish, delta.error, delta.stuck) for delta in steps}
    nothing = "no token of the vocabulary can go on with what the grammar asks for"
    assert ends == {("stop", None, False), ("error", nothing, True)}


def test_a_form_that_no_tokens_write_is_refused():
    with pytest.raises(Refusal, match="no text has this form, or none that the tokens can write"):
        core_of(of_pieces(*PIECES)).add([2], Asked(json_schema={"type": "string"}))


@pytest.mark.parametrize("form", [{"choice": [" yes", " no"]}, {"regex": " (yes|no)"}], ids=["choice", "regex"])
def test_a_reply_may_begin_with_a_space(form):
    """SentencePiece writes it by a blank, of which nothing is seen, before the word with its own."""
    asks = [([9], Asked(**form, temperature=1.0, seed=seed)) for seed in range(20)]
    told = ran(core_of(of_words(), draft=True), asks)
    assert {(each.text, each.finish) for each in told} == {(" yes", "stop"), (" no", "stop")}
