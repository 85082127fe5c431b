"""Corpora: what is read, in which order, and what is refused with which words."""

import gzip
import json
import math
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viva.base.errors import Refusal
from viva.text.rows.corpus import files, hub, python, tasks
from viva.text.rows.row import Row
from viva.text.rows.split import part_of, split


def _texts(path, **more):
    return [row.data["text"] for row in files.Config(path=str(path), **more).rows()]


def test_text_files_and_their_gzipped_forms_are_a_row_each(tmp_path):
    (tmp_path / "b.txt").write_text("one\ntwo", encoding="utf-8")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "c.md").write_text("# 标题\r\n", encoding="utf-8", newline="")
    (tmp_path / "d.py.gz").write_bytes(gzip.compress(b"x = 1\n"))
    (tmp_path / ".hidden.txt").write_text("no")
    corpus = files.Config(path=str(tmp_path))
    rows = list(corpus.rows())
    assert [row.data for row in rows] == [{"text": "# 标题\r\n"}, {"text": "one\ntwo"}, {"text": "x = 1\n"}]
    assert rows[1].where == f"{tmp_path / 'b.txt'}:1"
    assert _texts(tmp_path / "*.txt") == ["one\ntwo"] == _texts(tmp_path / "b.txt")
    assert _texts(tmp_path / "**" / "*.md") == ["# 标题\r\n"]
    assert corpus.notes() == []


@pytest.mark.parametrize("piece", [None, 1])
def test_a_byte_order_mark_is_no_text(tmp_path, piece):
    (tmp_path / "a.txt").write_bytes("\ufeffone\n\ufefftwo\n".encode())
    assert "".join(_texts(tmp_path / "a.txt", piece=piece)) == "one\n\ufefftwo\n"
    (tmp_path / "a.jsonl").write_bytes('\ufeff{"text": "one"}\n'.encode())
    assert _texts(tmp_path / "a.jsonl") == ["one"]


def test_files_of_another_kind_in_a_folder_are_named(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "LICENSE").write_text("free")
    assert files.Config(path=str(tmp_path)).notes() == [f"1 files of {tmp_path} have no known ending: LICENSE"]


@given(text=st.text(st.sampled_from("ab\n\r中"), max_size=60), piece=st.integers(1, 20))
def test_pieces_of_a_file_are_whole_lines_and_together_the_file(tmp_path_factory, text, piece):
    file = tmp_path_factory.mktemp("piece") / "a.txt"
    file.write_bytes((text + "!").encode())
    made = list(files.Config(path=str(file), piece=piece).rows())
    pieces = [row.data["text"] for row in made]
    assert "".join(pieces) == text + "!"
    assert all(len(p) >= piece and p.endswith("\n") for p in pieces[:-1])
    assert [int(row.where.rsplit(":", 1)[1]) for row in made] == [
        1 + "".join(pieces[:i]).count("\n") for i in range(len(pieces))
    ]


ROWS = [{"text": "a\u2028b", "n": 1}, {"text": "中", "n": None}]


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "parquet"])
def test_rows_of_jsonl_and_parquet_carry_their_place(tmp_path, ending):
    file = tmp_path / f"rows.{ending}"
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode() + b"\n\n"
    if ending == "parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(ROWS), file)
    else:
        file.write_bytes(gzip.compress(lines) if ending.endswith("gz") else lines)
    rows = list(files.Config(path=str(file)).rows())
    assert [row.data for row in rows] == ROWS
    assert [row.where for row in rows] == [f"{file}:1", f"{file}:2"]


BAD = {
    "missing": (None, None, r"must be in an existing file, folder or glob, but found '.*train\.txt'.*use 'near\.txt'"),
    "empty": ("a.txt", b"", r"a\.txt must hold text, but found an empty file"),
    "gbk": ("a.txt", "ab中".encode("gbk"), r"a\.txt:1 must be UTF-8 text, but found byte 0xd6 at offset 2.*iconv"),
    "gbk line": (
        "a.jsonl",
        b'{"text": "a"}\n{"text": "\xd6\xd0"}\n',
        r"a\.jsonl:2 must be UTF-8 text, but found byte 0xd6 at offset 24",
    ),
    "gbk page": ("a.txt", "a\nb\nab中".encode("gbk"), r"a\.txt:3 must be UTF-8 text, but found byte 0xd6 at offset 6"),
    "utf-16": ("a.txt", "ab".encode("utf-16"), r"a\.txt:1 must be UTF-8 text, but found byte 0xff.*iconv -f UTF-16"),
    "ending": ("a.docx", b"x", r"must hold files that end in \.txt, .*, but found a\.docx.*convert"),
    "table": ("a.tsv.gz", b"x", r"must hold files that end in .*, but found a\.tsv\.gz\. .* by data\.kind=table\."),
    "sheet": ("a.xlsx", b"x", r"found a\.xlsx\. To fix it, save each sheet as a \.csv file, which data\.kind=table"),
    "no object": ("a.jsonl", b'{"text": "a"}\n[1]\n', r"a\.jsonl:2 must be a JSON object, but found a list"),
    "no json": ("a.jsonl", b"hello\n", r"a\.jsonl:1 must be a JSON object, but found 'hello' \(Expecting value"),
    "cut gzip": ("a.txt.gz", gzip.compress(b"hello" * 99)[:-9], r"a\.txt\.gz must be whole gzip data"),
    "no gzip": ("a.txt.gz", b"hello", r"a\.txt\.gz must be whole gzip data, but found Not a gzipped file"),
    "no parquet": ("a.parquet", b"hello world", r"a\.parquet must be a whole parquet file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused(tmp_path, case):
    name, content, says = BAD[case]
    (tmp_path / ".." / tmp_path.name / "near.txt").write_text("x")
    if name:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Refusal, match=says):
        list(files.Config(path=str(tmp_path / (name or "train.txt"))).rows())


def test_a_folder_without_data_is_refused(tmp_path):
    with pytest.raises(Refusal, match=r"must hold files that end in .*, but found no file"):
        list(files.Config(path=str(tmp_path)).rows())


def test_the_digest_is_of_the_content_and_not_of_the_place(tmp_path):
    for name, text in (("one", "a"), ("two", "a"), ("three", "b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text(text)
    one, two, three = (files.Config(path=str(tmp_path / n)).digest() for n in ("one", "two", "three"))
    assert one == two != three
    assert one != files.Config(path=str(tmp_path / "one"), piece=5).digest()


@pytest.mark.parametrize("streaming", [False, True])
def test_a_data_set_is_read_by_name(tmp_path, monkeypatch, streaming):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n{"text": "c"}\n')
    known = {"name": "json", "data_files": str(tmp_path / "rows.jsonl"), "streaming": streaming}
    rows = list(hub.Config(**known).rows())
    assert [row.data for row in rows] == [{"text": "a"}, {"text": "b"}, {"text": "c"}]
    assert rows[2].where == "json/train:3"
    assert len(list(hub.Config(**known, rows_max=2).rows())) == 2
    with pytest.raises(
        Refusal, match=r"must be one that `datasets.load_dataset` can load, but found 'json', split 'test'"
    ):
        list(hub.Config(**known, split="test").rows())


def test_the_python_corpus_is_the_library_without_its_tests():
    folder = Path(sysconfig.get_path("stdlib"))
    found = [file.relative_to(folder).as_posix() for file in python.sources(folder)]
    assert {"argparse.py", "json/decoder.py", "asyncio/tasks.py"} <= set(found)
    assert not [name for name in found if "/test" in f"/{name}" and "unittest" not in name and "doctest" not in name]
    assert not [name for name in found if "site-packages" in name or name.startswith("pydoc_data")]
    assert found == [file.relative_to(folder).as_posix() for file in python.sources(folder)]
    rows = list(python._topics())
    assert any(row.data["text"].startswith('The "assert" statement') or "assert" in row.data["text"] for row in rows)
    assert rows[0].where.startswith("pydoc_data.topics:")


def test_an_installation_without_sources_is_refused(tmp_path):
    with pytest.raises(Refusal, match=r"needs the source of the standard library, but found no .py file in"):
        python.sources(tmp_path)


def test_equal_rows_are_on_one_side_whatever_their_place():
    rows = [Row({"text": f"{i % 50}", "n": [i % 50]}, f"f:{i}") for i in range(500)]
    train, valid = (list(split(rows, part, 0.3)) for part in ("train", "valid"))
    assert len(train) + len(valid) == 500
    assert not {row.data["text"] for row in train} & {row.data["text"] for row in valid}
    assert list(split(rows, "all", 0.3)) == rows
    assert part_of(Row({"a": 1, "b": 2}, "x"), 0.5) == part_of(Row({"b": 2, "a": 1}, "y"), 0.5)


def test_the_held_out_share_is_about_what_was_asked_for():
    """Binomial(10000, 0.1): mean 1000, standard deviation 30; five of them are allowed."""
    rows = [Row({"text": str(i)}, "") for i in range(10_000)]
    assert abs(len(list(split(rows, "valid", 0.1))) - 1000) < 150
    for share in (1.0, -0.1, math.inf):
        with pytest.raises(Refusal, match="held-out share must be at least 0 and below 1"):
            split(rows, "train", share)


def test_task_rows_are_conversations_and_a_function_of_the_seed():
    config = tasks.Config(count=40)
    rows = list(config.rows())
    assert rows == list(config.rows()) != list(tasks.Config(count=40, seed=1).rows())
    assert rows[:10] == list(tasks.Config(count=10).rows())
    assert [m["role"] for m in rows[0].data["messages"]] == ["user", "assistant"]
    assert config.digest() == tasks.Config(count=40).digest() != tasks.Config(count=41).digest()
    with pytest.raises(Refusal, match=r"a task family must be known, but found 'addd'.*use 'add'"):
        list(tasks.Config(count=1, families=("addd",)).rows())
