"""The token cache: what goes in comes out, once, with bounded memory, and never for another tokenizer."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from viva.base.errors import Refusal
from viva.text import documents
from viva.text.corpus import files
from viva.text.documents import Documents, build
from viva.text.format import alpaca, prompt, text
from viva.text.learn import byte_bpe
from viva.text.tokenizer import Tokenizer

ROWS = [{"prompt": f"{i} + 1 =", "completion": f" {i + 1} 是"} for i in range(40)]


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return files.Config(path=str(tmp_path / "data.jsonl"))


def test_documents_are_the_examples_of_the_rows(ours, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "CHUNK_ROWS", 7)  # several chunks
    docs = build(corpus, prompt.Config(), ours, tmp_path / "cache")
    expected = [prompt.Config().example(row, ours) for row in corpus.rows()]
    assert len(docs) == 40
    for i, example in enumerate(expected):
        ids, mask = docs[i]
        assert ids.tolist() == example.ids and mask.tolist() == example.mask
    assert docs.lengths.tolist() == [len(example.ids) for example in expected]
    assert docs.bytes.tolist() == [len(row["completion"].encode()) for row in ROWS]
    assert docs[0][0].dtype == np.uint16 and isinstance(docs._ids, np.memmap)
    assert docs.counts.learned == sum(sum(example.mask) for example in expected)


def test_a_second_build_reads_the_first(ours, corpus, tmp_path, monkeypatch):
    first = build(corpus, prompt.Config(), ours, tmp_path / "cache")
    monkeypatch.setattr(prompt.Config, "examples", None)  # would fail if it were called
    assert build(corpus, prompt.Config(), ours, tmp_path / "cache").folder == first.folder


def test_another_content_format_part_or_tokenizer_has_another_cache(ours, corpus, tmp_path):
    def place(corpus=corpus, form=None, tokenizer=ours, part="all"):
        form = form or prompt.Config()
        return build(corpus, form, tokenizer, tmp_path / "cache", part, 0.5).folder

    (tmp_path / "other.jsonl").write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    other = byte_bpe.train(["other words altogether"] * 3, byte_bpe.Config(vocab_size=270))
    swapped = prompt.Config(prompt="completion", completion="prompt")
    places = [
        place(), place(form=swapped), place(tokenizer=other), place(part="train"), place(part="valid"),
        place(corpus=files.Config(path=str(tmp_path / "other.jsonl"))),
    ]  # fmt: skip
    assert len(set(places)) == len(places)


def test_another_frame_is_refused_and_one_that_was_not_written_down_is_any(ours, corpus, tmp_path):
    """Caches that were made before tokenizers told their frame keep their names, by which runs know their data."""
    made = build(corpus, prompt.Config(), ours, tmp_path / "cache")
    framed = Tokenizer(ours.core, ours.config | {"cls_token": "<|im_start|>", "sep_token": "<|im_end|>"})
    with pytest.raises(Refusal, match=r"the token cache .* needs its own tokenizer: its frame must be"):
        build(corpus, prompt.Config(), framed, tmp_path / "cache")
    header = json.loads((made.folder / "header.json").read_text())
    (made.folder / "header.json").write_text(
        json.dumps(header | {"fingerprint": header["fingerprint"] | {"frame": None}})
    )
    assert build(corpus, prompt.Config(), framed, tmp_path / "cache").name == made.name


def test_rows_are_all_accounted_for(ours, tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": "x" * (i % 5)}) + "\n" for i in range(50)))
    corpus = files.Config(path=str(tmp_path / "a.jsonl"))
    whole = build(corpus, text.Config(), ours, tmp_path / "cache").counts
    assert (whole.rows, whole.elsewhere, whole.empty, whole.documents) == (50, 0, 10, 40)
    train, valid = (build(corpus, text.Config(), ours, tmp_path / "cache", p, 0.5).counts for p in ("train", "valid"))
    assert train.documents + valid.documents == 40 and train.elsewhere + valid.elsewhere == 50


def test_the_files_are_not_opened_for_another_tokenizer(ours, corpus, tmp_path):
    folder = build(corpus, prompt.Config(), ours, tmp_path / "cache").folder
    other = byte_bpe.train(["other words altogether"] * 3, byte_bpe.Config(vocab_size=270))
    with pytest.raises(Refusal, match=r"the token cache .* needs its own tokenizer: the id at place \d+ of the probe"):
        Documents.open(folder, other)


def test_damaged_files_are_refused(ours, corpus, tmp_path):
    folder = build(corpus, prompt.Config(), ours, tmp_path / "cache").folder
    size = (folder / "ids.bin").stat().st_size
    os.truncate(folder / "ids.bin", size - 2)
    with pytest.raises(Refusal, match=rf"ids\.bin must have {size} bytes, but found {size - 2}\. .*delete"):
        Documents.open(folder, ours)
    (folder / "header.json").write_text("{")
    with pytest.raises(Refusal, match=r"must be a token cache, but found .*delete it"):
        Documents.open(folder, ours)


def test_a_part_without_documents_is_refused(ours, tmp_path):
    (tmp_path / "a.txt").write_text("one file is one row")
    with pytest.raises(
        Refusal, match=r"must hold at least one document with text, but found 1 rows, 0 in this part.*`piece`"
    ):
        for part in ("train", "valid"):  # the one row is in one of them
            build(files.Config(path=str(tmp_path / "a.txt")), text.Config(), ours, tmp_path / "cache", part, 0.5)
    assert [p.name for p in (tmp_path / "cache").iterdir() if p.name.startswith(".")] == []


def test_a_row_that_is_refused_leaves_nothing_behind(ours, corpus, tmp_path):
    with pytest.raises(Refusal, match=r"must have the field 'instruction'.*use the format 'prompt'"):
        build(corpus, alpaca.Config(), ours, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_kill_while_building_leaves_no_cache(ours, tmp_path):
    (tmp_path / "big.txt").write_text("a line of text\n" * 400_000)
    ours.save(tmp_path / "tokenizer")
    code = f"""
from viva.text.documents import build
from viva.text.corpus import files
from viva.text.format import text
from viva.text.tokenizer import Tokenizer
print("start", flush=True)
build(files.Config(path={str(tmp_path / "big.txt")!r}, piece=100), text.Config(),
      Tokenizer.load({str(tmp_path / "tokenizer")!r}), {str(tmp_path / "cache")!r})
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE)
    child.stdout.readline()
    while child.poll() is None and not list((tmp_path / "cache").glob(".*")):
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    assert [p.name for p in (tmp_path / "cache").iterdir() if not p.name.startswith(".")] == []


def test_a_large_vocabulary_takes_four_bytes(ours, corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(vars(ours), "vocab_size", 70_000)
    assert build(corpus, prompt.Config(), ours, tmp_path / "cache")[0][0].dtype == np.uint32
