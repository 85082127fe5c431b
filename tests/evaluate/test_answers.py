"""Answers measured: worked examples of SQuAD's two measures, and the best stretch of a text by trying them all."""

import json
import string

import pytest
import torch
import transformers

import viva
from viva.base.errors import Refusal
from viva.evaluate.answers import f1, predicted, scores, words
from viva.infer import answers
from viva.model.arch import bert, roberta
from viva.model.head import span
from viva.model.init import initialise
from viva.text.rows.fields import frame_of_two
from viva.text.rows.format import questions
from viva.text.rows.row import Row
from viva.text.tokens.learn import byte_bpe

CONTEXT = "the old cat sleeps in the sun and a small dog runs to the red house"


@pytest.fixture(scope="module")
def tokenizer():
    return byte_bpe.train([CONTEXT, "who sleeps where does it run to"] * 3, byte_bpe.Config(vocab_size=300))


def test_an_answer_has_thirty_tokens_at_most(tokenizer, monkeypatch):
    """It begins with the text. Of the two ends that stand out, the likelier is a token too far."""
    context, form = string.ascii_uppercase + string.digits, questions.Config()
    asked = form.asked(Row({"question": "who", "context": context}, "here"), tokenizer, frame_of_two(tokenizer))
    assert len(asked.offsets) == len(context)  # a token each
    of = torch.zeros(len(asked.ids), 2)
    of[asked.cut, 0], of[asked.cut + 29, 1], of[asked.cut + 30, 1] = 20.0, 10.0, 11.0
    monkeypatch.setattr(answers, "read_together", lambda *given: [of[None]])
    made = initialise(bert.TINY.model_copy(update={"vocab": 300, "head": span.Config()}).spec().build(), seed=4)
    [found] = answers.answer(made, tokenizer, ["who"], [context])
    assert found.text == context[:30]


def test_words_are_what_squad_compares():
    """Lower case, no articles, no punctuation, one space."""
    assert words("The  Eiffel-Tower, a  tower; An\titem") == ["eiffeltower", "tower", "item"]
    assert words("another theme") == ["another", "theme"]


def test_exact_match_and_f1_by_hand():
    """ "the Denver Broncos!" is right. "Carolina Panthers team": precision 2/3, recall 1, F1 0.8, beside its better
    answer. "42" shares nothing."""
    found = scores(
        ["the Denver Broncos!", "Carolina Panthers team", "42"],
        [["Denver Broncos", "Broncos"], ["Panthers", "Carolina Panthers"], ["forty"]],
    )
    assert found.exact == pytest.approx(1 / 3) and found.f1 == pytest.approx((1 + 0.8 + 0) / 3)
    assert f1(["a", "a", "b"], ["a", "c"]) == pytest.approx(2 / 5)  # one in common: precision 1/3, recall 1/2


@pytest.mark.parametrize("family", [bert, roberta])
def test_the_best_stretch_of_the_text(family, tokenizer, monkeypatch):
    monkeypatch.setattr(answers, "LONGEST", 4)
    monkeypatch.setattr("viva.infer.together.PACK", 60)  # so that they go in several passes
    config = family.TINY.model_copy(update={"vocab": 300, "head": span.Config()})
    model = initialise(config.spec().build(), seed=4).eval()
    with torch.no_grad():
        model.embedding.weight.mul_(50)  # so that the words decide
        model.head.out.bias.zero_()
    form, asked = questions.Config(), ["who sleeps", "where does it run to", "who runs"]
    found = predicted(model, tokenizer, form, [Row({"question": q, "context": CONTEXT}, "here:1") for q in asked])
    before, between, after = frame_of_two(tokenizer)
    inside = tokenizer.encode_plain(CONTEXT)
    for question, answer in zip(asked, found, strict=True):
        first = [*before, *tokenizer.encode(question), *between]
        ids = torch.tensor([[*first, *inside.ids, *after]])
        segments = (torch.arange(ids.shape[1])[None] >= len(first)).long() if family is bert else None
        of = model(ids, segments=segments)[0, len(first) :].tolist()
        tried = {(i, j): of[i][0] + of[j][1] for i in range(len(inside)) for j in range(i, min(i + 4, len(inside)))}
        i, j = max(tried, key=tried.get)
        assert answer == CONTEXT[inside.offsets[i][0] : inside.offsets[j][1]].strip()
    with pytest.raises(Refusal, match="a question and its text must have at most"):
        predicted(model, tokenizer, form, [Row({"question": "who", "context": CONTEXT * 9}, "here:1")])


def test_a_recipe_trains_a_model_that_finds_answers(tmp_path, capsys):
    """Who does something, and what, to a folder that transformers opens; a text that is too long is left out aloud."""
    rows = []
    for who in ("ann", "bob", "eve", "tom", "kim"):
        for what in ("runs home", "eats", "sings a song"):
            for context in (f"today {who} {what} again.", f"{who} {what}, and all are glad."):
                for question, answer in (("who is it?", who), ("what is done?", what)):
                    said = {"text": [answer], "answer_start": [context.index(answer)]}
                    rows.append({"context": context, "question": question, "answers": said})
    long = {"context": "ann runs. " * 40, "question": "who runs?", "answer": "ann", "answer_start": 0}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, long]))
    recipe = {
        "out": str(tmp_path / "run"),
        "model": {"kind": "bert", "width": 32, "layers": 2, "heads": 2, "hidden": 64, "context": 48},
        "tokenizer": {"vocab_size": 300},
        "data": {"kind": "files", "path": str(tmp_path / "rows.jsonl")},
        "format": "questions",
        "objective": "span",
        "valid": 0.1,
        "train": {"steps": 300, "batch": 16, "context": 48, "lr": 5e-3, "long": "drop", "precision": "fp32"},
    }
    done = viva.train(recipe)
    assert "tokens) are longer than the context and left out" in capsys.readouterr().err
    model, form = viva.load(done.folder), questions.Config()
    given = [Row(row, "here:1") for row in rows]
    right = [[answer for answer, _ in form.answered(row)] for row in given]
    assert scores(predicted(model.model, model.tokenizer, form, given), right).exact > 0.9
    twin = transformers.AutoModelForQuestionAnswering.from_pretrained(done.checkpoint)
    reader = transformers.AutoTokenizer.from_pretrained(done.checkpoint)
    read = reader(rows[0]["question"], rows[0]["context"], return_tensors="pt")
    assert read.input_ids[0].tolist() == form.example(given[0], model.tokenizer).ids
    theirs, mine = twin(**read), model.model(read.input_ids, segments=read.token_type_ids)
    torch.testing.assert_close(mine, torch.stack([theirs.start_logits, theirs.end_logits], -1), atol=1e-5, rtol=1e-4)
    asked = [(row["question"], row["context"]) for row in rows[:5]]
    told = model.answer([question for question, _ in asked], [context for _, context in asked])
    assert (told[0].text, told[0].start, told[0].end) == (
        "ann",
        6,
        9,
    )  # of a token that begins with the space before it
    for (question, context), said in zip(asked, told, strict=True):
        read = reader(question, context, return_tensors="pt", return_offsets_mapping=True)
        spans = read.pop("offset_mapping")[0].tolist()
        inside = [place for place, of in enumerate(read.sequence_ids(0)) if of == 1]
        theirs = twin(**read)
        starts, ends = (logits[0, inside].softmax(-1).tolist() for logits in (theirs.start_logits, theirs.end_logits))
        stretches = [(i, j) for i in range(len(inside)) for j in range(i, min(i + 30, len(inside)))]
        i, j = max(stretches, key=lambda stretch: starts[stretch[0]] * ends[stretch[1]])
        assert said.probability == pytest.approx(starts[i] * ends[j], abs=1e-5)
        assert said.text == context[said.start : said.end] == context[spans[inside[i]][0] : spans[inside[j]][1]].strip()
