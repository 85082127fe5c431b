"""Gaps in texts, by tokenizers that viva learned: they are read as in training, and filled so that the text is right to
the character.
"""

import json
import random
import warnings

import numpy as np
import pytest
import transformers

import viva
from viva.base.choice import names, variant
from viva.base.errors import Notice, Refusal
from viva.infer.mend import mending
from viva.infer.spelled import encode_gaps
from viva.text.tokens.special import SENTINEL
from viva.train.objective import spans

KINDS = names("viva.text.tokens.learn")
SPACED = ["bpe", "byte_bpe", "unigram"]  # whose words hold the space before them
PLACES = {"dog": "in", "cat": "up", "cow": "by", "bird": "on", "frog": "at"}
SAYINGS = [f"Now the {kind} {name} is {place} again." for name, place in PLACES.items() for kind in ("red", "big")]
TEXT = "Now the big dog is in again.\nthe old cat\n    is up again.  Now the red cow is by\nbird on."
MASK = "<|mask|>"


def texts() -> list[str]:
    """The words of the sayings among others, so that they are tokens."""
    drawn, words = random.Random(0), sorted({word for text in SAYINGS for word in text.split()})
    other = lambda: "".join(drawn.choices("etaoinshrdlucmfgbpy", k=drawn.randint(1, 5)))  # noqa: E731
    lines = [[drawn.choice(words) if drawn.random() < 0.6 else other() for _ in range(12)] for _ in range(400)]
    return [TEXT, *map(" ".join, lines)]


def learned_by(kind: str, **fields):
    fields = {"vocab_size": 500, "mask": True, "sentinels": 30, **fields}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        return variant("viva.text.tokens.learn", kind).Config(**fields).learn(texts())


@pytest.fixture(scope="module")
def learned():
    return {kind: learned_by(kind) for kind in KINDS}


def gap(kind: str, start: int, end: int) -> tuple[int, int] | None:
    """[start, end) of TEXT as a gap in place of these characters of tokens: behind the space that they begin with.
    None where words are cut, or where a word's space is a token of its own though others hold theirs.
    """
    cut = any(TEXT[at - 1 : at].isalpha() and TEXT[at].isalpha() for at in (start, end))
    parted = TEXT[start] != " " and TEXT[start - 1 : start] == " "
    if (cut and kind != "char") or (parted and kind in SPACED):
        return None
    return start + (kind in SPACED and TEXT[start] == " "), end


def masked(tokenizer, kind: str):
    """(TEXT with the mask in place of one word or sign that is a token, its ids with the mask's in that place)."""
    found = tokenizer.encode_plain(TEXT)
    for place, (start, end) in enumerate(found.offsets[:-1]):
        if TEXT[start:end].strip() and (at := gap(kind, start, end)):
            ids = [*found.ids[:place], tokenizer.id(MASK), *found.ids[place + 1 :]]
            yield TEXT[: at[0]] + MASK + TEXT[at[1] :], ids


@pytest.mark.parametrize("kind", KINDS)
def test_a_masked_token_is_read_as_in_training(learned, kind):
    """There the mask's id stands in the place of the token's, with the space that the token holds."""
    cases = list(masked(learned[kind], kind))
    assert len(cases) >= 9
    for text, ids in cases:
        assert encode_gaps(learned[kind], text, [MASK]) == ids, text


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_reads_it_alike(learned, kind, tmp_path):
    """Where no other space stands before the mask's own: it takes all."""
    learned[kind].save(tmp_path)
    twin, seen = transformers.AutoTokenizer.from_pretrained(tmp_path), 0
    for text, ids in masked(learned[kind], kind):
        if not text.split(MASK)[0].removesuffix(" ")[-1:].isspace():
            assert twin(text, add_special_tokens=False).input_ids == ids, text
            seen += 1
    assert seen >= 8


@pytest.mark.parametrize("kind", SPACED)
def test_a_gap_between_words_that_end_with_their_space_leaves_it(kind):
    """As most do where a token may hold several words."""
    tokenizer = learned_by(kind, words="none")
    ids = encode_gaps(tokenizer, f"again. {MASK} again", [MASK])
    assert ids == [*tokenizer.encode("again. "), tokenizer.id(MASK), *tokenizer.encode(" again")]


def spanned(offsets: list[tuple[int, int]], kind: str, drawn: random.Random) -> tuple[list[tuple[int, int]], str]:
    """Spans of up to three tokens, with some left between, and TEXT with a sentinel in place of each."""
    left_out, text, at, first = [], "", 0, 0
    while first < len(offsets) - 4:
        last = first + drawn.randint(1, 3)
        place = gap(kind, offsets[first][0], offsets[last - 1][1])
        if place and drawn.random() < 0.3:
            text, at = text + TEXT[at : place[0]] + SENTINEL.format(len(left_out)), place[1]
            left_out.append((first, last))
            first = last
        first += 1
    return left_out, text + TEXT[at:]


@pytest.mark.parametrize("kind", KINDS)
def test_spans_put_back_make_the_text(learned, kind):
    """Source and target as the objective makes them of TEXT's ids."""
    tokenizer, drawn, seen = learned[kind], random.Random(0), 0
    found, reading, how = tokenizer.encode_plain(TEXT), spans.Config().reading(tokenizer), mending(tokenizer, SENTINEL)
    whole = tokenizer.decode(found.ids)
    for _ in range(20):
        left_out, damaged = spanned(found.offsets, kind, drawn)
        source, target = (ids.tolist() for ids in reading.told(np.array(found.ids), left_out))
        assert how.read([damaged]) == [source], damaged
        assert how.whole([source], [target]) == [whole]
        seen += len(left_out)
    assert seen >= 40 and (whole == TEXT or kind in ("word", "wordpiece"))


def trained_on(sayings, tokenizer, tmp_path, steps=200):
    """The model that the recipe for masked words makes of them."""
    (tmp_path / "d.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in sayings))
    tokenizer.save(tmp_path / "tokenizer")
    changes = {"out": str(tmp_path / "run"), "data": {"kind": "files", "path": str(tmp_path / "d.jsonl")}}
    changes |= {
        "tokenizer": str(tmp_path / "tokenizer"),
        "train.minutes": None,
        "train.steps": steps,
        "train.batch": 16,
    }
    changes |= {"valid": 0, "train.eval_every": None}
    changes |= {"model": {"kind": "bert", "width": 64, "layers": 2, "heads": 4, "context": 64, "dropout": 0.0}}
    viva.train("recipes/pretrain-bert.yaml", {**changes, "train.context": 64, "train.schedule.warmup": 20})
    return viva.load(tmp_path / "run")


@pytest.mark.parametrize("kind", ["bpe", "byte_bpe"])  # by which each place is one token
def test_a_trained_model_fills_in_what_it_learned(learned, kind, tmp_path):
    """Each animal's place, by `fill` and, among all, by `cloze`."""
    model = trained_on(SAYINGS * 30, learned[kind], tmp_path)
    words = {place: place for place in PLACES.values()}
    for name, place in PLACES.items():
        [[best]] = model.fill(f"Now the big {name} is {MASK} again.", top=1)
        assert best.token == f" {place}"
        [guess] = model.cloze([f"the red {name}"], "Now {text} is {word} again.", words)
        assert guess.label == place


def test_a_number_is_asked_for_behind_a_space_of_its_own(learned, tmp_path):
    """As docs/recipes.md says: `byte_bpe` has the space before a digit as a token, and a mask takes in one."""
    rooms = dict(zip(PLACES, "84625", strict=True))
    facts = [f"Now the {kind} {name} is {number} again." for name, number in rooms.items() for kind in ("red", "big")]
    model = trained_on(facts * 30, learned["byte_bpe"], tmp_path, 400)
    classes = {number: number for number in rooms.values()}
    for name, number in rooms.items():
        [[best]] = model.fill(f"Now the big {name} is  {MASK} again.", top=1)
        assert best.token == number and best.probability > 0.9
        [guess] = model.cloze([f"the red {name}"], "Now {text} is  {word} again.", classes)
        assert guess.label == number and guess.probability > 0.9
        [[space]] = model.fill(f"Now the big {name} is {MASK} again.", top=1)
        assert space.token == " "
    with pytest.raises(
        Refusal, match=r"'8' must be one token in the gap .* 2 tokens\..* write 'Now {text} is  {word} again\.'"
    ):
        model.cloze(["the red dog"], "Now {text} is {word} again.", classes)
    where = PLACES["dog"]
    for space in (" ", "  "):  # no way to write the pattern serves a digit and a word that holds its space
        with pytest.raises(Refusal, match=r"must be one token .* To fix it, choose another word"):
            model.cloze(["the red dog"], f"Now {{text}} is{space}{{word}} again.", {"place": where, "number": "8"})
    with pytest.raises(Refusal, match=rf"'  ?{where}' must be one token .* write '{where}': the pattern has the space"):
        model.cloze(["the red dog"], "Now {text} is {word} again.", {"a": f" {where}", "b": f"  {PLACES['cat']}"})
    with pytest.raises(Refusal, match=r"'84' must be one token .* found 3 tokens\. To fix it, choose another word"):
        model.cloze(["the red dog"], "Now {text} is {word} again.", {"many": "84", "few": "62"})
    with pytest.raises(Refusal, match=r"'84' must be one token .* found 3 tokens\. To fix it, choose another word"):
        model.cloze(["the red dog"], "Now {text} is  {word} again.", {"many": "84", "few": "62"})
