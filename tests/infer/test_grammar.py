"""Replies of a form: whatever a random model would write, jsonschema and re find what was asked for."""

import json
import random
import re
import sys
import warnings

import jsonschema
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from infer.serving import ran, random_model
from viva.base.errors import Notice, Refusal
from viva.infer.engine.asked import Asked
from viva.infer.engine.draft import ngram
from viva.infer.engine.engine import Core
from viva.infer.engine.grammar import Grammars
from viva.infer.engine.schedule import Limits
from viva.model.arch import llama
from viva.text.tokens.byte_level import BYTES
from viva.text.tokens.learn import bpe, byte_bpe, unigram
from viva.text.tokens.tokenizer import Tokenizer

TEXTS = ['{"name": "Ann", "age": 3, "tags": ["yes", "no"]} true false null naïve 你好 12.5e3 '] * 5


def of_words() -> Tokenizer:
    """As SentencePiece makes them: a token for each byte, words with their space, which the first of a text loses."""
    words = ["▁", '"', "{", "}", "[", "]", ":", ",", *"0123456789abcdefyesno", "▁yes", "▁no", '▁{"', "▁1", "▁中"]
    vocab = {token: number for number, token in enumerate(["<unk>", "<s>", "</s>", *BYTES, *dict.fromkeys(words)])}
    core = tokenizers.Tokenizer(models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    core.decoder = decoders.Sequence(steps)
    core.add_special_tokens(["<unk>", "<s>", "</s>"])
    return Tokenizer(core, {"bos_token": "<s>", "eos_token": "</s>"})


with warnings.catch_warnings():
    warnings.simplefilter("ignore", Notice)
    TOKENIZERS = {
        "byte_bpe": byte_bpe.train(TEXTS, byte_bpe.Config(vocab_size=320)),
        "unigram": unigram.Config(vocab_size=320).learn(TEXTS),
        "bpe": bpe.Config(vocab_size=320).learn(TEXTS),
        "of words": of_words(),
    }


def core_of(name: str, draft: bool = False, seed: int = 1, more: int = 0) -> Core:
    """A random model; with `more` rows than there are tokens, as published ones have."""
    tokenizer = TOKENIZERS[name]
    config = llama.TINY.model_copy(update={"vocab": tokenizer.vocab_size + more, "context": 1024})
    model = random_model(config.spec(), noise=0.15, seed=seed)
    guess = ngram.Config().build(model.spec, None) if draft else None
    return Core({"": model}, tokenizer, 2000, 16, Limits(48, 1024, 256), guess)


def schema_of(draw: random.Random, depth: int = 2) -> dict:
    """A random schema, of keywords that texts of a bounded length can fulfil."""
    kinds = ["integer", "number", "string", "pattern", "enum", "const", "boolean", "null", "format"]
    kind = draw.choice(kinds + ["object", "object", "array", "array", "anyOf"] * (depth > 0))
    low = draw.randint(-50, 50)
    count = draw.randint(0, 2)
    match kind:
        case "integer":
            return {"type": "integer", "minimum": low, "maximum": low + draw.randint(0, 300)}
        case "number":
            return {"type": "number", "exclusiveMinimum": low, "maximum": low + draw.randint(1, 300)}
        case "string":
            return {"type": "string", "minLength": count, "maxLength": count + draw.randint(0, 5)}
        case "pattern":
            return {"type": "string", "pattern": draw.choice(["^[a-c]{1,3}$", "^[0-9]{2}-[A-Z]$", "^(yes|no)$"])}
        case "enum":
            return {"enum": draw.sample([1, "a", None, True, "naïve 中", 2.5, ["x"], {"k": 1}], 3)}
        case "const":
            return {"const": draw.choice([0, "it", [1, 2], {"a": {"b": None}}, 'say "no"\n'])}
        case "format":
            return {"type": "string", "format": draw.choice(["date", "time", "ipv4", "uuid"])}
        case "array":
            items = schema_of(draw, depth - 1)
            return {"type": "array", "items": items, "minItems": count, "maxItems": count + draw.randint(0, 2)}
        case "anyOf":
            return {"anyOf": [schema_of(draw, depth - 1) for _ in range(2)]}
        case "object":
            names = draw.sample(["name", "age", "tags", "x y", "é"], draw.randint(1, 3))
            properties = {name: schema_of(draw, depth - 1) for name in names}
            required = draw.sample(names, draw.randint(0, len(names)))
            return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"type": kind}


@pytest.mark.parametrize(("name", "draft"), [(name, name in ("bpe", "of words")) for name in TOKENIZERS])
def test_json_is_of_its_schema(name, draft):
    """60 random schemas; nearly every reply comes to its end within 300 tokens, and each that does is valid."""
    draw = random.Random(name)
    schemas = [schema_of(draw) for _ in range(60)]
    how = {"temperature": 1.0, "max_new_tokens": 300}
    asks = [([9], Asked(json_schema=schema, seed=seed, **how)) for seed, schema in enumerate(schemas)]
    told = ran(core_of(name, draft, more=5), asks)
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    ended = 0
    for schema, each in zip(schemas, told, strict=True):
        assert each.error is None
        if each.finish == "stop":
            ended += 1
            jsonschema.validate(json.loads(each.text), schema, format_checker=checker)
    assert ended >= 54
    assert len({each.text for each in told}) > 40


PATTERNS = [
    "[a-z]{3,8}",
    r"[0-9]+(\.[0-9]{1,2})?",
    "(yes|no|maybe)( indeed)*",
    "[^a]{2}",
    "中?[A-F]{4}",
    "a*b",
    r"\([0-9]{3}\) [0-9]{4}",
]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_reply_matches_its_expression_as_a_whole(name):
    asks = [
        ([9], Asked(regex=pattern, temperature=temperature, seed=seed, max_new_tokens=200))
        for pattern in PATTERNS
        for seed, temperature in enumerate((0, 1, 1.5))
    ]
    told = ran(core_of(name), asks)
    for (_, asked), each in zip(asks, told, strict=True):
        assert each.finish == "length" or re.fullmatch(asked.regex, each.text), (asked.regex, each.text)
    assert sum(each.finish == "stop" for each in told) >= 16


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_choice_is_one_of_them(name):
    """Each of them comes up, also those that begin alike, with quotes, line ends and signs of a grammar's own."""
    choice = ("yes", "no", "nobody", 'a "b"\n\\n', "中文", "| start: /x/", " yes")
    asks = [([9, seed], Asked(choice=choice, temperature=2.0, seed=seed, max_new_tokens=40)) for seed in range(60)]
    told = ran(core_of(name), asks)
    assert {each.finish for each in told} == {"stop"}
    assert {each.text for each in told} <= set(choice) and len({each.text for each in told}) >= 6


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_reply_is_of_its_grammar(name):
    """Brackets that pair, which no regular expression tells, around JSON of a schema; behind them a special token."""
    core = core_of(name)
    number = next(number for number in core.tokenizer.specials.values() if number not in core.tokenizer.stops)
    rules = f'start: nested <[{number}]>\nnested: "(" nested ")" | "<" inner ">"\ninner: %json {{"enum": [1, "a"]}}'
    asks = [([9], Asked(grammar=rules, temperature=1.5, seed=seed, max_new_tokens=300)) for seed in range(12)]
    for each in ran(core, asks):
        assert (each.finish, each.tokens.count(number)) == ("stop", 1)
        told = re.fullmatch(r"(\(*)<(.*)>(\)*)", each.text.removesuffix(core.tokenizer.decode([number])))
        assert len(told[1]) == len(told[3]) and json.loads(told[2]) in (1, "a")


def test_a_choice_is_drawn_as_its_first_tokens_are_likely():
    """ "a" against "b", a token each: by the model's own two scores. 1500 draws within four standard deviations."""
    core = core_of("byte_bpe")
    tokenizer, asked = core.tokenizer, Asked(choice=("a", "b"), temperature=1.0, seed=3, n=100, logprobs=0)
    a, b = (tokenizer.encode(text)[0] for text in "ab")
    drawn = [told for seed in range(15) for told in ran(core, [([9], asked.model_copy(update={"seed": seed}))])]
    odds = {told.tokens[0]: told.logprobs[0] for told in drawn}
    share = 1 / (1 + 2.718281828459045 ** (odds[b] - odds[a]))
    found = sum(told.tokens[0] == a for told in drawn) / 1500
    assert abs(found - share) < 4 * (share * (1 - share) / 1500) ** 0.5


def test_guesses_are_held_to_the_grammar_and_change_nothing():
    schema = {"type": "array", "items": {"enum": ["yes", "no"]}, "minItems": 6, "maxItems": 9}
    asks = [
        ([9], Asked(json_schema=schema, temperature=0.7, seed=seed, max_new_tokens=200, logprobs=1))
        for seed in range(8)
    ]
    guessed = core_of("byte_bpe", draft=True)
    assert ran(guessed, asks) == ran(core_of("byte_bpe"), asks)
    assert guessed.counters.accepted > 40


def test_a_reply_is_the_same_in_any_company():
    asks = [([9], Asked(regex=pattern, temperature=1, seed=1, max_new_tokens=30, logprobs=1)) for pattern in PATTERNS]
    free = [([9, 8], Asked(temperature=1, seed=seed, max_new_tokens=30)) for seed in range(6)]
    together = ran(core_of("byte_bpe"), [*asks, *free])[: len(asks)]
    assert together == [ran(core_of("byte_bpe"), [ask])[0] for ask in asks]


def test_ids_that_end_a_reply_end_it_where_it_is_complete():
    """The letter b as a stop id: of `a*b+` it may only follow a whole b, of which there is none but it: refused by what
    is left. Of `[ab]{3}` it is not drawn before the third letter, and there nothing may follow.
    """
    core = core_of("byte_bpe")
    stop = core.tokenizer.encode("b")[0]
    told = ran(core, [([9], Asked(regex="[ab]{3}", temperature=1, seed=s, stop_ids=[stop])) for s in range(9)])
    assert {(each.text, each.finish) for each in told} == {("aaa", "stop")}
    (told,) = ran(core, [([9], Asked(regex="b{1,2}", temperature=0, stop_ids=[stop]))])
    assert told.finish == "error" and "no token of the vocabulary can go on with what the grammar asks" in told.error


def test_a_reply_ends_by_itself_where_the_tokenizer_s_end_is_not_asked_for():
    told = ran(core_of("byte_bpe"), [([9], Asked(regex="[ab]{4}", temperature=1, go_on=True, max_new_tokens=40))])[0]
    assert re.fullmatch("[ab]{4}", told.text) and told.finish == "stop"


def test_an_open_end_is_up_to_the_model():
    """`a+`: with a bias for its end it ends behind the first, against it never."""
    core = core_of("byte_bpe")
    ends = core.tokenizer.stops
    first, never = ran(
        core,
        [
            ([9], Asked(regex="a+", temperature=1, max_new_tokens=9, logit_bias=dict.fromkeys(ends, bias)))
            for bias in (100, -100)
        ],
    )
    assert (first.text, first.finish, first.tokens[-1] in ends) == ("a", "stop", True)
    assert (set(never.text), never.finish) == ({"a"}, "length")


def test_a_form_is_compiled_once(monkeypatch):
    import llguidance

    made = []
    plain = llguidance.LLMatcher.grammar_from_regex
    monkeypatch.setattr(llguidance.LLMatcher, "grammar_from_regex", lambda text: made.append(text) or plain(text))
    ran(core_of("byte_bpe"), [([9], Asked(regex="ab", n=3)), ([9], Asked(regex="ab")), ([9], Asked(regex="ba"))])
    assert made == ["ab", "ba"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"regex": "("}, r"regex must be one that replies can be held to, but found .*unclosed group"),
        ({"regex": "(?=a)b"}, "look-around, including look-ahead and look-behind, is not supported"),
        ({"json_schema": {"type": "foo"}}, "json_schema must be .* but found Invalid type: foo"),
        ({"json_schema": {"not": {}}}, r'but found Unimplemented keys: \["not"\]'),
        ({"json_schema": {"x-guidance": {"lenient": True}, "not": {}}}, r'Unimplemented keys: \["not"\]'),
        ({"json_schema": {"$ref": "http://x.y/z"}}, "Resource 'http://x.y/z' is not present"),
        ({"json_schema": {"type": "integer", "minimum": 5, "maximum": 3}}, "Unsatisfiable schema"),
        ({"json_schema": {"minimum": float("nan")}}, "json_schema must be"),
        ({"json_schema": {"$ref": "#"}}, "json_schema must be .* could not be followed: no text has this form"),
        ({"regex": r"[^\s\S]"}, "regex must be .* could not be followed: no text has this form"),
        ({"grammar": 'start: "a" b'}, "grammar must be .* but found at .*: unknown name: .b.. To fix it"),
        ({"grammar": 'start: %json {"not": {}}'}, r'JSON schema: Unimplemented keys: \["not"\]. To fix it'),
        ({"regex": "(a{1000}){1000}"}, "regex must be .* could not be followed: .*too many expressions"),
    ],
)
def test_a_form_that_cannot_be_held_to_is_refused(form, expected):
    core = core_of("byte_bpe")
    with pytest.raises(Refusal, match=expected):
        core.add([9], Asked(**form))
    assert core.idle


def test_a_form_of_no_text_but_the_empty_one_is_held_to():
    tokenizer = TOKENIZERS["byte_bpe"]
    core = core_of("byte_bpe")
    (told,) = ran(core, [([9], Asked(regex="()", stop_ids=(tokenizer.specials["<|endoftext|>"],)))])
    assert (told.text, told.finish) == ("", "stop")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"regex": "a", "choice": ["a"]}, "a reply has one form: leave out regex or choice"),
        ({"json_schema": {}, "regex": "a"}, "a reply has one form: leave out json_schema or regex"),
        ({"regex": "a", "min_new_tokens": 3}, "regex says where a reply may end: leave min_new_tokens out"),
        ({"choice": [""]}, "at least 1 character"),
    ],
)
def test_forms_that_contradict(asked, expected):
    with pytest.raises(ValueError, match=expected):
        Asked(**asked)


def test_an_engine_without_tokens_as_text_holds_to_no_form():
    config = llama.TINY
    with pytest.raises(Refusal, match="must know its tokens as text to hold replies to a form, but found no tokenizer"):
        Core({"": random_model(config.spec())}, None, 9).add([1], Asked(regex="a"))


def test_without_the_library_a_form_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(Refusal, match=r"To fix it, pip install 'viva\[serve\]'"):
        Grammars(TOKENIZERS["bpe"])
