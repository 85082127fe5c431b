"""The token cache: what goes in comes out, once, with bounded memory, and never for another tokenizer."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tokenizers

from viva.base import ahead, progress
from viva.base.errors import Notice, Refusal
from viva.base.files import sole_user
from viva.text.cache import documents, written
from viva.text.cache.documents import Documents, build
from viva.text.rows.corpus import files
from viva.text.rows.format import alpaca, prompt, text
from viva.text.tokens.grow import Config as Grow
from viva.text.tokens.grow import grow
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.tokenizer import Tokenizer

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
        json.dumps(header | {"fingerprint": header["fingerprint"] | dict.fromkeys(("frame", "other_roles"))})
    )
    assert build(corpus, prompt.Config(), framed, tmp_path / "cache").name == made.name


def test_a_cache_is_refused_where_an_added_token_is_looked_for_otherwise(ours, corpus, tmp_path):
    grown = grow(ours, Grow(tokens=("numpy",))).tokenizer
    build(corpus, prompt.Config(), grown, tmp_path / "cache")
    parts = json.loads(grown.core.to_str())
    parts["added_tokens"][-1]["single_word"] = True
    apart = Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(parts)), grown.config)
    assert grown.encode("numpys") != apart.encode("numpys")
    with pytest.raises(Refusal, match=r"its flags must be \{'numpy': \('normalized',\)\}, but found .*single_word"):
        build(corpus, prompt.Config(), apart, tmp_path / "cache")
    [made] = (tmp_path / "cache").iterdir()
    begun = made.with_name(f".{made.name}.begun")
    made.rename(begun)
    (begun / "tokenizer.json").write_text(grown.fingerprint.model_dump_json())  # as after a kill
    with pytest.raises(Refusal, match=r"the token cache begun in .* needs its own tokenizer: its flags must be"):
        build(corpus, prompt.Config(), apart, tmp_path / "cache")


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


def _bytes(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("chunk", [0, 1, 3])
def test_a_build_that_was_stopped_goes_on_where_it_stopped(ours, corpus, tmp_path, monkeypatch, chunk):
    """With rows of the other part before, between and behind, and the same bytes as one made at once."""
    monkeypatch.setattr(documents, "CHUNK_ROWS", 5)
    monkeypatch.setattr(written, "EVERY_S", 0.0)
    monkeypatch.setattr(ahead, "cores", lambda: 1)
    at_once = build(corpus, prompt.Config(), ours, tmp_path / "whole", "train", 0.3)
    read: list[list[str]] = []
    examples = prompt.Config.examples

    def stopping(self, rows, tokenizer):
        if len(read) == chunk:
            raise KeyboardInterrupt
        read.append([row.where for row in rows])
        return examples(self, rows, tokenizer)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(prompt.Config, "examples", stopping)
        build(corpus, prompt.Config(), ours, tmp_path / "cache", "train", 0.3)
    before = [where for rows in read for where in rows]
    assert [file.name for file in (tmp_path / "cache").iterdir()] == [f".{at_once.name}.begun"]
    chunk = 1 << 30
    monkeypatch.setattr(prompt.Config, "examples", stopping)
    resumed = build(corpus, prompt.Config(), ours, tmp_path / "cache", "train", 0.3)
    assert _bytes(resumed.folder) == _bytes(at_once.folder)
    everything = [where for rows in read for where in rows]
    assert len(everything) == len(set(everything)) == len(at_once) and everything[: len(before)] == before


def test_what_was_written_after_the_last_note_is_written_again(ours, corpus, tmp_path, monkeypatch):
    """As after a kill between two notes."""
    monkeypatch.setattr(documents, "CHUNK_ROWS", 5)
    at_once = build(corpus, prompt.Config(), ours, tmp_path / "whole")
    begun = tmp_path / "cache" / f".{at_once.name}.begun"
    begun.mkdir(parents=True)
    rows = list(corpus.rows())
    with written.Written(begun) as files:
        files.add(written.pack(prompt.Config().examples(rows[:10], ours), np.dtype(np.uint16)), 10, 10, {})
        files.note()
        files.add(written.pack(prompt.Config().examples(rows[10:17], ours), np.dtype(np.uint16)), 17, 17, {})
    assert (begun / "ids.bin").stat().st_size > files.state.sizes["ids.bin"]
    assert _bytes(build(corpus, prompt.Config(), ours, tmp_path / "cache").folder) == _bytes(at_once.folder)


def test_what_is_said_of_rows_is_counted_and_kept_with_what_was_made_of_them(ours, tmp_path):
    """A later run that finds the cache says it too."""
    rows = [{"instruction": f"a {n}", "output": " " * (n % 3)} for n in range(4)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for _ in range(2):
        made = build(files.Config(path=str(tmp_path / "d.jsonl")), alpaca.Config(), ours, tmp_path / "cache")
        assert made.notes == ["an answer is empty or blank: that it ends is all there is to learn of it (4 times)"]


def test_a_kill_while_building_leaves_no_cache_and_is_gone_on_after(ours, tmp_path):
    (tmp_path / "big.txt").write_text("a line of text\n" * 100_000)
    ours.save(tmp_path / "tokenizer")
    code = f"""
from viva.text.cache import written
from viva.text.cache.documents import build
from viva.text.rows.corpus import files
from viva.text.rows.format import text
from viva.text.tokens.tokenizer import Tokenizer
written.EVERY_S = 0.0
print("start", flush=True)
build(files.Config(path={str(tmp_path / "big.txt")!r}, piece=100), text.Config(),
      Tokenizer.load({str(tmp_path / "tokenizer")!r}), {str(tmp_path / "cache")!r})
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE)
    child.stdout.readline()
    while child.poll() is None and not list((tmp_path / "cache").glob(".*/state.json")):
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    [begun] = (tmp_path / "cache").iterdir()
    assert 0 < json.loads((begun / "state.json").read_text())["rows"] < 14_286
    corpus = files.Config(path=str(tmp_path / "big.txt"), piece=100)
    resumed, at_once = (build(corpus, text.Config(), ours, tmp_path / name) for name in ("cache", "whole"))
    assert len(resumed) == 14_286 and _bytes(resumed.folder) == _bytes(at_once.folder)


def test_a_cache_that_was_begun_for_other_data_is_told_of(ours, corpus, tmp_path):
    other = tmp_path / "cache" / ".0123.begun"
    other.mkdir(parents=True)
    (other / "ids.bin").write_bytes(bytes(3 << 20))
    with pytest.warns(Notice, match=r"\.0123\.begun is a token cache of other data, begun and not finished \(3 MiB\)"):
        build(corpus, prompt.Config(), ours, tmp_path / "cache")


def test_two_processes_do_not_build_one_cache(ours, corpus, tmp_path):
    name = build(corpus, prompt.Config(), ours, tmp_path / "whole").name
    with sole_user(tmp_path / "cache" / f".{name}.begun"), pytest.raises(Refusal, match="used by one run at a time"):
        build(corpus, prompt.Config(), ours, tmp_path / "cache")


def test_rows_are_taken_ahead_no_further_than_keeps_the_workers_busy():
    taken, doing = [], threading.Semaphore(0)
    items = (taken.append(number) or number for number in range(100))

    def work(number):
        doing.acquire()
        return -number

    results = ahead.ahead(work, items, workers=2)
    threading.Timer(0.2, lambda: [doing.release() for _ in range(100)]).start()
    assert next(results) == (0, 0) and len(taken) == 5
    assert list(results) == [(number, -number) for number in range(1, 100)]


def test_progress_says_a_line_now_and_then_where_there_is_no_terminal(ours, corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(documents, "CHUNK_ROWS", 20)
    build(corpus, prompt.Config(), ours, tmp_path / "silent")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    build(corpus, prompt.Config(), ours, tmp_path / "cache")
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("reading the data, to know it by its content: ")
    assert [line.split(":")[1].split(" rows")[0] for line in said[1:3]] == [" 20", " 40"]
    assert said[3].startswith("tokenising: ") and said[3].endswith(" s in all") and len(said) == 4


def test_a_large_vocabulary_takes_four_bytes(ours, corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(vars(ours), "vocab_size", 70_000)
    assert build(corpus, prompt.Config(), ours, tmp_path / "cache")[0][0].dtype == np.uint32
