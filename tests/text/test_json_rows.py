"""Rows of JSON: arrays and lines give the same rows as Python's own reader, each with its line; what is cut or ragged
is refused where it breaks.
"""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viva.base.errors import Refusal
from viva.text.rows.corpus import files

ROWS = [{"text": "a\n\u2028b ]", "n": [1, {"x": "}"}]}, {"text": "中", "n": None}, {"text": '"\\'}]


def _rows(path):
    return list(files.Config(path=str(path)).rows())


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("name", ["rows.json", "rows.json.gz"])
def test_an_array_gives_its_objects_with_their_lines_and_numbers(tmp_path, name, indent):
    text = "\n " + json.dumps(ROWS, ensure_ascii=False, indent=indent) + "\n\n"
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    found = _rows(tmp_path / name)
    assert [row.data for row in found] == ROWS
    lines = [2, 2, 2] if indent is None else [3, 12, 16]
    assert [row.where for row in found] == [f"{tmp_path / name}:{line}, item {n}" for n, line in enumerate(lines, 1)]
    assert all("{" in text.split("\n")[line - 1] for line in lines)


def test_a_json_file_may_hold_an_object_a_line(tmp_path):
    (tmp_path / "rows.json").write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    assert [(row.data, row.where.rsplit(":")[-1]) for row in _rows(tmp_path / "rows.json")] == [
        (row, str(place)) for place, row in enumerate(ROWS, start=1)
    ]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.sampled_from('ab"\\\n{}[],: 中')),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(max_size=2), VALUES, max_size=3), min_size=1), st.sampled_from([None, 0, 1]))
def test_any_array_is_read_as_python_reads_it(tmp_path_factory, rows, indent):
    file = tmp_path_factory.mktemp("json") / "a.json"
    file.write_text(json.dumps(rows, indent=indent), encoding="utf-8")
    assert [row.data for row in _rows(file)] == rows


BAD = {
    "cut": ('[\n{"a": 1},\n{"a": "b', r"a\.json:3, item 2 must be valid JSON, but found '\"b' \(Unterminated string"),
    "cut between": ('[\n{"a": 1},\n', r"a\.json:3, item 2 must be valid JSON, but found '' \(Expecting value\)"),
    "no end": ('[\n{"a": 1}\n', r"a\.json:3 must have ',' or '\]' next in its array, but found the end of the file"),
    "no comma": (
        '[{"a": 1}\n{"a": 2}]',
        r"a\.json:2 must have ',' or '\]' next in its array, but found '\{\"a\": 2\}\]'",
    ),
    "ragged": (
        '[{"a": 1},\n {"a":\n 1 "b": 2}' + ', {"a": 3}' * 9,
        r"""a\.json:3, item 2 must be valid JSON, but found '"b": 2\}.*' \(Expecting ',' delimiter\)""",
    ),
    "more": ('[{"a": 1}]\n[]', r"a\.json:2 must end with its array, but found '\[\]'"),
    "no objects": ('[{"a": 1},\n 3]', r"a\.json:2, item 2 must be a JSON object, but found a int.*an array of them"),
    "pretty": ('{\n"a": 1}', r"a\.json:1 must be a JSON object, but found '\{' .*write one JSON object a line"),
    "a key twice": (
        '[{"a": 1},\n {"b": {"a": 1, "c": 2, "a": 3}}]',
        r"a\.json:2, item 2 must have each key of an object once, but found 'a' twice\. To fix it, leave one of them",
    ),
    "deep": ("[" * 100_000, r"a\.json:1, item 1 must be valid JSON, but found .*recursion"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_array_of_objects_is_refused_where_it_breaks(tmp_path, case):
    content, says = BAD[case]
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(Refusal, match=says):
        _rows(tmp_path / "a.json")


def test_a_line_with_a_key_twice_is_refused_and_the_next_one_read(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1, "a": 2}\n{"a": {"b": 1}, "b": {"a": [{"a": 1}, {"a": 1}]}}\n')
    twice, row = files.Config(path=str(tmp_path / "a.jsonl")).each()
    assert isinstance(twice, Refusal) and "a.jsonl:1 must have each key of an object once" in str(twice)
    assert row.data == {"a": {"b": 1}, "b": {"a": [{"a": 1}, {"a": 1}]}}


def test_an_array_is_no_jsonl(tmp_path):
    (tmp_path / "a.jsonl").write_text('[{"a": 1}]')
    with pytest.raises(Refusal, match=r"a\.jsonl:1 must be a JSON object, but found a list.* in a \.json file"):
        _rows(tmp_path / "a.jsonl")


@pytest.mark.parametrize("content", ["", "\n \n", "[]", " [\n]\n"])
def test_a_file_without_rows_has_none(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    if content:
        assert _rows(tmp_path / "a.json") == []
    else:
        with pytest.raises(Refusal, match=r"a\.json must hold text, but found an empty file"):
            _rows(tmp_path / "a.json")
