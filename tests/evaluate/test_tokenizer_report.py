"""Tokenizers side by side: counts done by hand, with vocabularies of a few tokens."""

import gzip
import json

import pytest
from tokenizers import Tokenizer as Core
from tokenizers import decoders, models, normalizers, pre_tokenizers

from viva.base.errors import Notice, Refusal
from viva.evaluate.tokens import speed
from viva.evaluate.tokens.page import page
from viva.evaluate.tokens.report import measure
from viva.evaluate.tokens.sample import by_language, chosen
from viva.evaluate.tokens.units import Units, main_script, units, words
from viva.evaluate.tokens.vocabulary import vocabulary
from viva.text.tokens.tokenizer import Tokenizer

BYTES = {f"<0x{byte:02X}>": byte for byte in range(256)}


def pieces() -> Tokenizer:
    """WordPiece: [UNK] 0, [CLS] 1, low 2, ##er 3, new 4, . 5; the first two are special."""
    vocab = {token: number for number, token in enumerate(["[UNK]", "[CLS]", "low", "##er", "new", "."])}
    core = Core(models.WordPiece(vocab, unk_token="[UNK]"))
    core.normalizer, core.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    return Tokenizer(core, {"unk_token": "[UNK]", "cls_token": "[CLS]"})


def byte_level(*merges: tuple[str, str]) -> Tokenizer:
    """The 256 bytes, and what the merges make."""
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, merges)]
    core = Core(models.BPE({token: number for number, token in enumerate(tokens)}, list(merges)))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return Tokenizer(core, {})


def fallback() -> Tokenizer:
    """The 256 bytes by number, and a, b, ab; an unknown token that is never needed."""
    vocab = {**BYTES, "<unk>": 256, "a": 257, "b": 258, "ab": 259}
    return Tokenizer(Core(models.BPE(vocab, [("a", "b")], unk_token="<unk>", byte_fallback=True)), {})


def leaky() -> Tokenizer:
    """a and b, and nothing for the rest."""
    return Tokenizer(Core(models.BPE({"a": 0, "b": 1}, [])), {})


def figures(tokenizer: Tokenizer, *texts: str):
    report = measure({"it": tokenizer}, {"x": list(texts)}, turns=1)
    return report.figures["it"][report.everything]


def test_words_are_those_of_the_example_of_uax_29():
    """Section 4 of the annex, figure 1, with its quotes and apostrophe."""
    text = "The quick (“brown”) fox can’t jump 32.3 feet, right?"
    assert words(text) == ["The", "quick", "brown", "fox", "can’t", "jump", "32.3", "feet", "right"]


@pytest.mark.parametrize(
    ("text", "script", "found"),
    [
        ("秦川雄帝宅，函谷壯皇居。", "Han", list("秦川雄帝宅函谷壯皇居")),
        ("猫飯はラーメンだ", "Kana", ["猫", "飯", "は", "ラーメン", "だ"]),
        ("あーー", "Kana", ["あ", "ーー"]),
        ("สวัสดี", "Thai", ["ส", "วั", "ส", "ดี"]),
        ("བོད་ཡིག", "Tibetan", ["བོད", "ཡིག"]),
        ("नमस्ते दुनिया!", "Devanagari", ["नमस्ते", "दुनिया"]),
        ("ሰላም፡ዓለም", "Ethiopic", ["ሰላም", "ዓለም"]),
        ("한국어 문장", "Hangul", ["한국어", "문장"]),
        ("Привет, a_b __init__ …", "Cyrillic", ["Привет", "a_b", "__init__"]),
        ("❤️ 1 2", "none", ["1", "2"]),
    ],
)
def test_words_and_scripts(text, script, found):
    assert (words(text), main_script([text])) == (found, script)


def test_lengths_of_texts():
    assert units(["né 秦", "", "a b"]) == Units(texts=3, words=4, characters=7, bytes=10)


def test_word_pieces():
    """low ##er | [UNK] . | new: of 5 tokens one is unknown, and hides the 4 characters of "slow"."""
    found = figures(pieces(), "Lower slow.", "new")
    assert found.tokens == 5
    assert found.per_word == 5 / 3
    assert found.per_character == found.per_byte == 5 / 14
    assert found.unknown == 1 / 5 and found.hidden == 4 / 14
    assert found.fragments is None
    assert found.unused == 0  # low, ##er, new and . were met
    assert figures(pieces(), "new slow").unused == 3 / 4


def test_bytes_of_a_character():
    """a, é and € have 1, 2 and 3 bytes: each a token; with merges é is one token, and € two that are no character."""
    apart = figures(byte_level(), "aé€")
    assert (apart.tokens, apart.fragments, apart.unknown, apart.hidden) == (6, 5 / 6, None, None)
    assert (apart.per_character, apart.per_byte) == (2, 1)
    joined = figures(byte_level(("Ã", "©"), ("â", "Ĥ")), "aé€")
    assert (joined.tokens, joined.fragments) == (4, 2 / 4)
    assert joined.unused == 1 - 4 / 258


def test_the_sign_for_broken_text_is_a_character():
    known = vocabulary(byte_level(("ï", "¿"), ("ï¿", "½"), ("ï¿½", "ï¿")))
    assert known.fragments >= {256, 258} and 257 not in known.fragments and known.complete


def test_byte_fallback():
    found = figures(fallback(), "abb€")
    assert (found.tokens, found.fragments, found.unknown) == (5, 3 / 5, 0)
    assert vocabulary(fallback()).complete


def test_what_a_vocabulary_lacks_is_told():
    assert leaky().encode("ace") == [0]
    report = measure({"leaky": leaky(), "whole": byte_level(), "pieces": pieces()}, {"x": ["ace"]}, turns=1)
    lines = page(report, ["x"]).splitlines()
    assert "- No unknown token: characters that the vocabulary lacks are left out of the ids: leaky." in lines
    assert "- No unknown token, as every byte has one of its own: whole." in lines
    assert "- No tokens for bytes: leaky, pieces." in lines
    assert lines[4].startswith("| leaky | 2 | 1.00 | 0.333 | 0.333 | - | - | - | 50.0% |")
    assert lines[6].startswith("| pieces | 4 | 1.00 | 0.333 | 0.333 | 100.0% | 100.0% | - | 100.0% |")


def test_scripts_are_sums_of_their_languages():
    texts = {"en": ["low lower"], "de": ["new"], "zh": ["低", "新低"], "zahlen": ["1 2"]}
    report = measure({"it": pieces()}, texts, turns=1)
    assert {name: group.languages for name, group in report.scripts.items()} == {
        "Latin": ("en", "de"),
        "Han": ("zh",),
        "none": ("zahlen",),
    }
    latin, han = (report.figures["it"][report.scripts[name]] for name in ("Latin", "Han"))
    assert (latin.tokens, latin.per_word, latin.unknown, latin.unused) == (4, 4 / 3, 0, 1 / 4)
    assert (han.tokens, han.per_word, han.unknown, han.hidden) == (2, 2 / 3, 1, 1)  # 新低 is one unknown token
    assert report.everything.units == Units(texts=5, words=8, characters=18, bytes=24)
    shown = page(report, ["zh", "en"])
    assert "| Han | 1 | one character | 0.667* |\n" in shown and "| Latin | 2 |  | 1.33 |\n" in shown
    assert shown.endswith("| zh | Han | one character | 0.667* |\n| en | Latin |  | 1.50 |\n")


def test_no_words_is_no_number():
    report = measure({"it": byte_level()}, {"x": ["!?"]}, turns=1)
    assert report.figures["it"][report.everything].per_word is None
    assert "| none | 1 |  | - |\n" in page(report, ["x"])


def test_speed_is_the_median_of_turns_in_rotation(monkeypatch):
    """A clock that each encoding moves: 1 s each of the first, but for one slow turn; 2 s each of the second."""
    now, calls = [0.0], []

    class Timed:
        def __init__(self, name, spends):
            self.name, self.spends = name, iter(spends)

        def encode(self, text):
            calls.append((self.name, text))
            now[0] += next(self.spends)

    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
    contestants = {"a": Timed("a", [1, 1, 9, 9, 1, 1]), "b": Timed("b", [2] * 6)}
    found = speed.seconds(contestants, {"x": ["one"], "y": ["two"]}, turns=3)
    assert calls == [("a", "one"), ("a", "two"), ("b", "one"), ("b", "two")] * 3
    assert found == {"a": {"x": [1, 9, 1], "y": [1, 9, 1]}, "b": {"x": [2, 2, 2], "y": [2, 2, 2]}}


def test_speed_counts_the_bytes_that_were_timed(monkeypatch):
    """Of x two texts of 10 characters are timed, for 20 bytes; all of y, 6 bytes: 26 bytes in 2 s, the middle turn."""
    monkeypatch.setattr(speed, "MOST", 25)
    spent = {"x": [1.0, 1.5, 9.0], "y": [0.5, 0.5, 0.5]}
    asked = {}

    def told(tokenizers, languages, turns):
        asked.update(languages)
        return dict.fromkeys(tokenizers, spent)

    monkeypatch.setattr("viva.evaluate.tokens.report.seconds", told)
    report = measure({"it": byte_level()}, {"x": ["a" * 10] * 3, "y": ["秦川"]}, turns=3)
    assert asked == {"x": ["a" * 10] * 2, "y": ["秦川"]}
    assert report.figures["it"][report.everything].mb_per_s == pytest.approx(26 / 2.0 / 1e6)
    assert report.figures["it"][report.languages["x"]].mb_per_s == pytest.approx(20 / 1.5 / 1e6)
    assert speed.timed(["b" * 99, "c"]) == ["b" * 99]  # one at least


def test_no_turn_is_refused():
    with pytest.raises(Refusal, match="turns must be at least 1, but found 0"):
        measure({"it": leaky()}, {"x": ["a"]}, turns=0)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "english.txt").write_text("low", encoding="utf-8")
    (tmp_path / "sub" / "greek.txt.gz").write_bytes(gzip.compress("αβγ".encode()))
    rows = [{"lang": "de", "text": "neu"}, {"text": "new"}, {"lang": "de", "text": "alt"}, {"lang": "xx", "text": " "}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return tmp_path


def test_languages_are_named_by_a_field_or_a_file(data):
    with pytest.warns(Notice, match=r"texts that are blank and left out: 1, the first \S+rows.jsonl:4 \(xx\)"):
        found = by_language(str(data))
    assert found == {"de": ["neu", "alt"], "english": ["low"], "rows": ["new"], "sub/greek": ["αβγ"]}
    assert by_language(str(data / "english.txt")) == {"english": ["low"]}


def test_a_field_that_is_named_must_be_there(data):
    with pytest.raises(Refusal, match=r"rows.jsonl:2 must have the field 'lang', but found the fields 'text'"):
        by_language(str(data / "rows.jsonl"), language="lang")


def test_blank_texts_alone_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("\n", encoding="utf-8")
    with (
        pytest.warns(Notice),
        pytest.raises(Refusal, match="must hold text to compare tokenizers on, but found blank texts alone"),
    ):
        by_language(str(tmp_path))


def test_languages_to_show():
    languages = {f"l{number:02}": ["a" * number] for number in range(1, 31)}
    assert chosen(languages, ["l03", "l01"]) == ["l03", "l01"]
    assert chosen(languages, []) == [f"l{number:02}" for number in range(30, 10, -1)]
    with pytest.raises(Refusal, match=r"a language to show must be in the data, but found 'l3'\. To fix it, use 'l30'"):
        chosen({"l30": ["a"], "m": ["b"]}, ["l3"])
