"""Filters: what they take out and why, counted and kept; MinHash beside exact resemblance."""

import json
import random
import sys
import unicodedata

import pytest
from pydantic import ValidationError

from viva.base.errors import Notice, Refusal
from viva.text.cache import documents
from viva.text.cache.documents import build
from viva.text.rows.corpus import files
from viva.text.rows.filter import contamination, duplicates, language, length, near_duplicates, script, unreadable
from viva.text.rows.format import auto, classes, preference, text
from viva.text.rows.sift import Source, sift


def _corpus(tmp_path, *texts, name="d"):
    rows = [each if isinstance(each, dict) else {"text": each} for each in texts]
    (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return files.Config(path=str(tmp_path / f"{name}.jsonl"))


def _read(*corpora):
    """Corpora whose rows the run reads as texts."""
    return [Source(corpus, text.Config()) for corpus in corpora]


def _kept(tmp_path, form, *texts):
    """The numbers of the rows that a filter leaves."""
    [kept] = sift(_read(_corpus(tmp_path, *texts)), [form], tmp_path / "sifted")
    return [int(row.where.rsplit(":")[-1]) - 1 for row in kept.rows()]


def test_the_first_of_equal_rows_stays(tmp_path):
    assert _kept(tmp_path, duplicates.Config(), "a", "b", "a", "a ") == [0, 1, 3]
    named = [{"id": n, "text": text} for n, text in ((1, "a"), ("y", "a"), ("y", ""), ("z", ""), ("y", ""))]
    assert _kept(tmp_path, duplicates.Config(), *named) == [0, 1, 2, 3]
    assert _kept(tmp_path, duplicates.Config(fields=("text",)), *named) == [0, 2, 3, 4]


def test_rows_that_differ_in_any_field_are_no_duplicates(tmp_path):
    judged = {"prompt": "a", "completion": "b"}
    rows = [judged | {"label": label} for label in (True, False, 1, 1.0, None, True)]
    assert _kept(tmp_path, duplicates.Config(), *rows) == [0, 1, 2, 3, 4]
    pairs = [{"prompt": "a", "completion": "b\nc"}, {"prompt": "a\nb", "completion": "c"}]
    turned = [{"completion": "c", "prompt": "a\nb"}, {"prompt": ["a", "b"], "completion": "c"}]
    assert _kept(tmp_path, duplicates.Config(), *pairs, *turned) == [0, 1, 3]
    talk = [{"messages": [{"role": role, "content": "你好"}]} for role in ("user", "assistant", "user")]
    assert _kept(tmp_path, duplicates.Config(), *talk) == [0, 1]


def test_who_speaks_is_no_text(tmp_path):
    talk = [
        {"messages": [{"role": role, "content": "你好，今天天气很好。"}]} for role in ("user", "assistant", "system")
    ]
    assert _kept(tmp_path, near_duplicates.Config(), *talk) == [0]
    assert _kept(tmp_path, script.Config(scripts=("cjk",), share=1.0), *talk) == [0, 1, 2]


def test_rows_are_counted_and_shown_for_each_filter_in_turn(tmp_path, ours):
    """And what the token cache counts adds up to the rows that were read."""
    corpus = _corpus(tmp_path, *(["one two three"] * 3 + ["x", "", "four five six"] + ["seven eight nine"] * 2))
    [kept] = sift(_read(corpus), [length.Config(max=10**6, min=2), duplicates.Config()], tmp_path / "sifted")
    first, second = kept.notes()
    assert first.startswith(f"files {tmp_path / 'd.jsonl'}: 2 of 8 rows left out by length, such as ")
    assert f"{tmp_path / 'd.jsonl'}:4 'x' (1 characters), " in first and "d.jsonl:5 '' (0 characters)" in first
    assert "3 of 8 rows left out by duplicates, such as " in second and "d.jsonl:2 'one two three' (equal" in second
    counts = [
        documents.build(kept, text.Config(), ours, tmp_path / "c", part, 0.5).counts for part in ("train", "valid")
    ]
    for c in counts:
        assert (c.rows, c.dropped) == (8, 5) and c.rows == c.dropped + c.elsewhere + c.empty + c.documents
    assert sum(c.documents for c in counts) == 3


def test_a_second_corpus_is_sifted_behind_the_first(tmp_path):
    corpora = [_corpus(tmp_path, "a", "b", name="one"), _corpus(tmp_path, "b", "c", name="two")]
    one, two = sift(_read(*corpora), [duplicates.Config()], tmp_path / "sifted")
    assert [[row.data["text"] for row in kept.rows()] for kept in (one, two)] == [["a", "b"], ["c"]]


def test_what_was_decided_is_read_the_next_time(tmp_path, monkeypatch):
    corpus = _corpus(tmp_path, "a", "a", "b")
    [first] = sift(_read(corpus), [duplicates.Config()], tmp_path / "sifted")
    monkeypatch.setattr(duplicates.Config, "judge", None)  # would fail if it were called
    [again] = sift(_read(corpus), [duplicates.Config()], tmp_path / "sifted")
    assert list(again.rows()) == list(first.rows()) and again.notes() == first.notes()
    assert again.digest() == first.digest() != corpus.digest()
    changed = _corpus(tmp_path, "a", "a", "c")
    with pytest.raises(TypeError):
        sift(_read(changed), [duplicates.Config()], tmp_path / "sifted")


def test_a_filter_of_fields_that_a_row_has_not_is_refused(tmp_path):
    says = r"d\.jsonl:1 must have a field that the filter duplicates looks at: body, but found the fields 'text'"
    with pytest.raises(Refusal, match=says):
        _kept(tmp_path, duplicates.Config(fields=("body",)), "a")


def test_shingles_are_those_of_the_paper():
    """Broder 1997, section 2: the 4-shingling of (a, rose, is, a, rose, is, a, rose)."""
    form = near_duplicates.Config(unit="words", size=4)
    assert form.shingles("A rose is\n a rose is a  rose") == {"a rose is a", "rose is a rose", "is a rose is"}
    assert near_duplicates.Config(size=3).shingles("今天天气") == {"今天天", "天天气"}
    assert near_duplicates.Config(size=9).shingles("ab") == {"ab"} and near_duplicates.Config().shingles(" ") == set()


def test_near_duplicates_are_those_whose_shingles_resemble_each_other(tmp_path):
    """Exact resemblance, pair by pair, says which rows must go and which must stay; about five standard errors of
    sqrt(J (1 - J) / 512) = 0.021 are left to chance.
    """
    draw = random.Random(0)
    words = [f"w{n}" for n in range(2000)]
    base = [draw.choices(words, k=200) for _ in range(12)]
    texts = []
    for number, document in enumerate(base):
        texts.append(" ".join(document))
        changed = list(document)
        for place in draw.sample(range(200), 4 * number):
            changed[place] = draw.choice(words)
        texts.append(" ".join(changed))
    form = near_duplicates.Config(threshold=0.65, unit="words", size=2, permutations=512)
    shingles = [{tuple(t.split()[at : at + 2]) for at in range(199)} for t in texts]
    alike = [len(shingles[n] & shingles[n - 1]) / len(shingles[n] | shingles[n - 1]) for n in range(1, 24, 2)]
    sure = [pair for pair, each in enumerate(alike) if abs(each - 0.65) > 0.105]
    assert sure == [0, 1, 2, 3, 9, 10, 11]
    kept = _kept(tmp_path, form, *texts)
    assert [n for n in range(0, 24, 2) if n not in kept] == []
    assert [2 * pair + 1 in kept for pair in sure] == [False] * 4 + [True] * 3


def test_a_near_duplicate_names_what_it_resembles(tmp_path):
    poem = "窗前明月光，疑是地上霜。举头望明月，低头思故乡。"
    corpus = _corpus(tmp_path, "something else altogether", poem, poem.replace("窗前", "床前"))
    [kept] = sift(_read(corpus), [near_duplicates.Config(threshold=0.5, size=3)], tmp_path / "sifted")
    assert (
        "d.jsonl:3 '床前明月光，" in kept.notes()[0] and f"(resembles {tmp_path / 'd.jsonl'}:2 by 0." in kept.notes()[0]
    )


def test_a_resemblance_that_hashing_cannot_tell_is_no_threshold():
    for permutations in (16, 128):
        near_duplicates.Config(threshold=0.95, permutations=permutations).judge()
    with pytest.raises(ValidationError, match=r"threshold\n.*less than or equal to 0\.95"):
        near_duplicates.Config(threshold=1.0)


def test_length_in_characters_or_tokens(tmp_path, ours):
    texts = ["", "中文", "two words", "x" * 50]
    assert _kept(tmp_path, length.Config(min=3), *texts) == [2, 3]
    assert _kept(tmp_path, length.Config(max=9), *texts) == [0, 1, 2]
    ours.save(tmp_path / "tokenizer")
    tokens = [len(ours.encode(each)) for each in texts]
    bound = tokens[2]
    found = _kept(tmp_path, length.Config(max=bound, tokenizer=str(tmp_path / "tokenizer")), *texts)
    assert found == [n for n, count in enumerate(tokens) if count <= bound] and 3 not in found
    with pytest.raises(ValidationError, match="must have `min` or `max`"):
        length.Config()
    with pytest.raises(ValidationError, match="must have `min` of at most `max`"):
        length.Config(min=3, max=2)


SAID = [
    "All human beings are born free and equal in dignity and rights.",
    "人人生而自由，在尊严和权利上一律平等。",
    "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "12 + 34 = 46",
]


def test_languages_and_scripts_are_told(tmp_path):
    assert _kept(tmp_path, language.Config(languages=("en", "zh")), *SAID[:4]) == [0, 1]
    assert _kept(tmp_path, language.Config(languages=("de",), sure=0.5), *SAID[:4], "", "Hm") == [2, 4, 5]
    assert _kept(tmp_path, script.Config(scripts=("latin", "cjk")), *SAID) == [0, 1, 2, 4]
    assert _kept(tmp_path, script.Config(scripts=("cyrillic",)), *SAID) == [3, 4]
    assert _kept(tmp_path, script.Config(scripts=("latin",), share=0.5), "ab中文", "a中文") == [0]
    with pytest.raises(Refusal, match=r"languages that can be told, but found 'english'.*use some of: .* en, .* zh"):
        _kept(tmp_path, language.Config(languages=("english",)), "a")
    with pytest.raises(Refusal, match=r"filter\.scripts must be known, but found 'chinese'.* cjk"):
        _kept(tmp_path, script.Config(scripts=("chinese",)), "a")


def test_what_a_format_refuses_can_be_left_out(tmp_path, ours):
    ours.save(tmp_path / "tokenizer")
    rows = [{"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "a", "chosen": "b"}, {"prompt": "a"}]
    rows[2] |= {"chosen": "b", "rejected": "b"}
    form = unreadable.Config(format="preference", tokenizer=str(tmp_path / "tokenizer"))
    assert _kept(tmp_path, form, *rows) == [0]
    [kept] = sift(_read(_corpus(tmp_path, *rows)), [form], tmp_path / "sifted")
    assert ":2 'a\\nb' (must have the field 'rejected', but found the fields 'prompt', 'chosen')" in kept.notes()[0]


def test_where_a_filter_leaves_nothing_it_is_named_with_its_reason(tmp_path, ours):
    rows = _corpus(tmp_path, {"question": "a", "good": "b"}, {"question": "c", "good": "d"})
    form = preference.Config()
    [kept] = sift([Source(rows, form, lambda: ours)], [unreadable.Config()], tmp_path / "sifted")
    found = (
        r"found 0 rows, 0 in this part; .*2 of 2 rows left out by unreadable, such as .*must have the field 'chosen'"
    )
    with pytest.raises(Refusal, match=rf"{found}.*leave the filter out"):
        build(kept, form, ours, tmp_path / "cache")


def test_rows_are_read_as_the_run_reads_them_unless_told(tmp_path, ours):
    """Each corpus by its own format and all with the run's tokenizer, whose chat template has turns alternate."""
    begun, twice = "\n\nHuman: a\n\nAssistant:", " b\n\nAssistant:"
    pairs = [{"chosen": begun + more + " c", "rejected": begun + more + " d"} for more in ("", twice, "")]
    talks = [{"messages": [{"role": role, "content": "a"} for role in roles]} for roles in (("user", "assistant"), ())]
    corpora = [_corpus(tmp_path, *pairs, name="pairs"), _corpus(tmp_path, *talks, name="talks")]
    sources = [Source(*each, lambda: ours) for each in zip(corpora, (preference.Config(), auto.Config()), strict=True)]
    left = [
        [row.where[-1] for row in kept.rows()] for kept in sift(sources, [unreadable.Config()], tmp_path / "sifted")
    ]
    assert left == [["1", "3"], ["1"]]
    told = [unreadable.Config(format={"kind": "preference", "plain": True})]
    assert [kept.dropped for kept in sift(sources, told, tmp_path / "sifted")] == [0, 2]
    with pytest.raises(Refusal, match=r"filter unreadable must know the tokenizer .* found one that is to be learned"):
        sift(_read(*corpora), [unreadable.Config()], tmp_path / "sifted")


def test_rows_without_a_class_are_left_out_where_others_name_theirs(tmp_path, ours):
    rows = [{"text": "a", "label": "x"}, {"text": "b"}, {"text": "c", "label": None}, {"text": "d", "label": "y"}]
    source = Source(_corpus(tmp_path, *rows), classes.Config(), lambda: ours)
    [kept] = sift([source], [unreadable.Config()], tmp_path / "sifted")
    assert [row.data["text"] for row in kept.rows()] == ["a", "d"]


@pytest.mark.parametrize(
    ("form", "library"), [(near_duplicates.Config(), "datasketch"), (language.Config(languages=("en",)), "py3langid")]
)
def test_a_library_that_is_missing_is_named_with_its_extra(tmp_path, monkeypatch, form, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(Refusal, match=rf"must have the library {library}, but found .*pip install 'viva\[filters\]'"):
        _kept(tmp_path, form, "a")


ASKED = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."
VERSE = "人人生而自由，在尊严和权利上一律平等。"


def _against(tmp_path, *texts, **more):
    evaluation = _corpus(tmp_path, *({"question": each, "answer": "72"} for each in texts), name="evaluation")
    return contamination.Config(against=(evaluation.path,), **more)


def test_a_piece_of_thirteen_words_of_the_evaluation_is_found(tmp_path):
    words = ASKED.split()
    training = [
        "Before. " + " ".join(words[3:16]).upper().replace(" ", " -- ") + " after",  # 13 words, whatever stands between
        "Before. " + " ".join(words[3:15]) + " after",  # 12
        "she sold half as many clips to " + ASKED[:40],
        "他说：“人人生而自由,在尊严和权利上" + "一律平等”",
        "在尊严和权利上一律平等",  # 11 characters
    ]
    form = _against(tmp_path, ASKED, VERSE, then="drop")
    assert _kept(tmp_path, form, *training) == [1, 2, 4]
    [kept] = sift(_read(_corpus(tmp_path, *training)), [form], tmp_path / "sifted")
    assert "2 of 5 rows left out by contamination" in kept.notes()[0]
    assert "(evaluated: 'to 48 of her friends in april and then she sold half as')" in kept.notes()[0]


def test_contamination_is_refused_with_the_count_unless_it_is_to_be_dropped(tmp_path):
    says = r"no row must be one that the filter contamination finds, but found 2 of 3: .*d\.jsonl:1 .*`then: drop`"
    with pytest.raises(Refusal, match=says):
        _kept(tmp_path, _against(tmp_path, ASKED), f"a {ASKED}", "b", ASKED)
    assert _kept(tmp_path, _against(tmp_path, ASKED), "a", "b") == [0, 1]


def test_short_evaluation_texts_are_looked_for_whole_or_said(tmp_path):
    short, shorter = "what is the sum of one and two", "what is one and two"
    form = _against(tmp_path, short, shorter, then="drop")
    says = r"^1 of 2 rows of .*evaluation\.jsonl have no text of 8 words, and are not looked for in the training data$"
    with pytest.warns(Notice, match=says):
        assert _kept(tmp_path, form, f"So: {short}?", shorter, short[:-4]) == [1, 2]


# Article 1 of the declaration of human rights in languages whose words hold marks, and one with none of its words
MARKED = {
    "hindi": (
        "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है",
        "हिन्दी की किताबें पढ़ने में बच्चों को बहुत समय लगता है और वे धीरे धीरे सीखते हैं",
    ),
    "tamil": (
        "மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர் அவர்கள் மதிப்பிலும் உரிமைகளிலும் சமமானவர்கள்",
        "பள்ளிக்குச் செல்லும் குழந்தைகள் தினமும் காலையில் புத்தகங்களைப் படிக்கிறார்கள் பிறகு விளையாடுகிறார்கள்",
    ),
    "arabic": (
        "يُولَدُ جَمِيعُ النَّاسِ أَحْرَارًا مُتَسَاوِينَ فِي الْكَرَامَةِ وَالْحُقُوقِ",
        "كَتَبَ الطَّالِبُ الدَّرْسَ عَلَى الدَّفْتَرِ ثُمَّ ذَهَبَ إِلَى الْبَيْتِ",
    ),
    "vietnamese": (
        "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi",
        "Hôm nay trời đẹp nên chúng tôi đi dạo quanh hồ rồi uống một tách cà phê",
    ),
}


@pytest.mark.parametrize("language", MARKED)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_words_are_whole_with_their_marks_in_either_form(tmp_path, language, form):
    asked, other = MARKED[language]
    assert contamination.found_words(asked) == unicodedata.normalize("NFC", asked.casefold()).split()
    clean, found = (unicodedata.normalize(form, each) for each in (other, asked))
    assert _kept(tmp_path, _against(tmp_path, asked, then="drop"), f"{clean}.", f"({found.upper()})") == [0]


def test_what_is_clean_is_not_taken_for_contaminated_syllable_by_syllable(tmp_path):
    """Eight words of an evaluation among others, which would be more than thirteen pieces if marks parted them."""
    asked, other = MARKED["hindi"]
    mixed = " ".join([*other.split()[:6], *asked.split()[:8], *other.split()[6:]])
    assert _kept(tmp_path, _against(tmp_path, asked, then="drop"), mixed, asked) == [0]


def test_signs_and_pictures_are_no_words():
    assert contamination.found_words("a_b: x², ❤️ 👩‍👧 — n’t 中文가 𠮷 ½") == [
        "a_b", "x²", "n", "t", "中", "文", "가", "𠮷", "½"
    ]  # fmt: skip


def test_another_evaluation_is_looked_for_anew(tmp_path):
    assert _kept(tmp_path, _against(tmp_path, ASKED, then="drop"), ASKED, VERSE) == [1]
    assert _kept(tmp_path, _against(tmp_path, VERSE, then="drop"), ASKED, VERSE) == [0]
