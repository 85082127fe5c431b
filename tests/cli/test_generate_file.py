"""`viva generate --input FILE --output FILE`: rows out, and what is said of them."""

import json
import re

import viva as public
from infer.serving import adapted
from viva.base.seed import derive

ROWS = [{"prompt": "some"}, {"id": 7, "messages": [{"role": "user", "content": "words"}]}]
COLD = ("--temperature", 0, "--max-new-tokens", 6)


def prompts(path):
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_a_file_is_answered(viva, tiny, tmp_path):
    out = tmp_path / "out.jsonl"
    code, told, err = viva("generate", tiny, "--input", prompts(tmp_path / "in.jsonl"), "--output", out, *COLD)
    m = public.load(tiny)
    replies = [m.generate(row.get("prompt", row.get("messages")), temperature=0, max_new_tokens=6) for row in ROWS]
    found = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert code == 0 and [row["reply"] for row in found] == replies and found[1]["id"] == 7
    tokens, ends = sum(row["tokens"] for row in found), sorted(row["finish"] for row in found)
    counted = ", ".join(f"{ends.count(end)} by {end}" for end in dict.fromkeys(ends))
    said = re.escape(f"{out}: 2 rows answered, 0 of them before; ended now {counted}, {tokens} tokens")
    assert re.fullmatch(rf"{said} at [\d.]+ tokens/s\n", told)
    assert re.search(r"^viva: memory: weights .* requests of the whole context of 96 tokens", err)
    assert "viva: float32, 1 thread: as OMP_NUM_THREADS says\n" in err


def test_flags_are_those_of_every_row(viva, tiny, tmp_path):
    warm = ("--seed", 3, "--max-new-tokens", 9, "--threads", 1)
    viva("generate", tiny, "--input", prompts(tmp_path / "in.jsonl"), "--output", tmp_path / "out.jsonl", *warm)
    found = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert found["reply"] == public.load(tiny).generate("some", seed=derive(3, "row", 0), max_new_tokens=9)


def test_an_adapter_writes_a_file(viva, tiny, tmp_path):
    adapted(tiny, tmp_path / "adapter")
    words = ("--input", prompts(tmp_path / "in.jsonl"), "--output", tmp_path / "out.jsonl")
    assert viva("generate", tiny, *words, "--adapter", tmp_path / "adapter", *COLD)[0] == 0
    found = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])["reply"]
    alone = public.load(tiny, adapter=tmp_path / "adapter").generate("some", temperature=0, max_new_tokens=6)
    assert found == alone != public.load(tiny).generate("some", temperature=0, max_new_tokens=6)


def test_rows_name_adapters(viva, tiny, tmp_path):
    """Those of NAME=FOLDER; the one of FOLDER alone writes the others. Another folder under the name is another run."""
    first, second = (adapted(tiny, tmp_path / name, targets=[f"attention.{name[0]}"]) for name in ("q", "v=1"))
    rows = tmp_path / "in.jsonl"
    rows.write_text('{"prompt": "some", "adapter": "brief"}\n{"prompt": "some"}\n')
    words = ("--input", rows, "--output", tmp_path / "out.jsonl", *COLD)
    assert viva("generate", tiny, *words, "--adapter", f"brief={first}", "--adapter", second)[0] == 0
    found = [json.loads(line)["reply"] for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    told = {"temperature": 0, "max_new_tokens": 6}
    assert found == [public.load(tiny, adapter=folder).generate("some", **told) for folder in (first, second)]
    assert found[0] != found[1]
    code, _, err = viva(
        "generate", tiny, *words[:2], "--output", tmp_path / "o", "--adapter", first, "--adapter", second
    )
    must = "one adapter at most must be given as FOLDER alone"
    assert code == 2 and f"{must}, but found {first} and {second}. To fix it, give the others as NAME=FOLDER" in err
    code, _, err = viva("generate", tiny, "some", "--adapter", "brief=there")
    assert code == 2 and "of one prompt must be given as --adapter FOLDER, but found brief=there. To fix it" in err


def test_words_that_do_not_go_together(viva, tiny, tmp_path):
    must = "viva: there must be a prompt, or a file of them with one to write, but found "
    for words, found in (
        ((), "neither"),
        (("hi", "--input", "a", "--output", "b"), "PROMPT and --input and --output"),
        (("--input", "a"), "--input"),
        (("hi", "--threads", 1), "PROMPT and --threads"),
    ):
        code, out, err = viva("generate", tiny, *words)
        assert (code, out) == (2, "") and err.startswith(f"{must}{found}. To fix it, write viva generate MODEL PROMPT")
    code, _, err = viva("generate", tiny, "--input", tmp_path / "none.jsonl", "--output", tmp_path / "out.jsonl")
    assert code == 2 and "none.jsonl" in err
