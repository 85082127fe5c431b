"""What each verb prints, in this process and on a tiny model."""

import json
import shutil
import sys
import types
from pathlib import Path

import pytest
import yaml

import viva as public
from viva.base import machine, measure, product
from viva.model.arch import t5

COLD = ("--temperature", "0", "--max-new-tokens", "10")


def test_generate_prints_what_the_api_says(viva, tiny):
    m = public.load(tiny)
    assert viva("generate", tiny, "some", *COLD) == (0, m.generate("some", temperature=0, max_new_tokens=10) + "\n", "")
    warm = {"temperature": 1.0, "top_k": 9, "seed": 4, "max_new_tokens": 30, "stop": ["e", "a"]}
    flags = ("--temperature", 1, "--top-k", 9, "--seed", 4, "--max-new-tokens", 30, "--stop", "e", "--stop", "a")
    assert viva("generate", tiny, "some", *flags)[1] == m.generate("some", **warm) + "\n"


def test_generate_gives_the_encoder_the_prompt(viva, tiny_of):
    path = tiny_of(t5)
    cold = {"temperature": 0, "max_new_tokens": 10}
    assert viva("generate", path, "some", *COLD)[:2] == (0, public.load(path).generate("some", **cold) + "\n")
    beams = viva("generate", path, "some", "--beams", 4, "--max-new-tokens", 10)
    assert beams[:2] == (0, public.load(path).translate(["some"], max_new_tokens=10)[0] + "\n")


def test_the_end_of_the_context_is_told_in_one_line(viva, tiny):
    code, _, err = viva("generate", tiny, "some", "--temperature", "0", "--max-new-tokens", "500")
    assert code == 0
    assert err == "viva: the reply ended because the model's context of 96 tokens is full\n"


def test_tokenizer_train_and_encode(viva, tmp_path):
    (tmp_path / "text.txt").write_text("low lower lowest\n" * 9, encoding="utf-8")
    code, out, _ = viva("tokenizer", "train", tmp_path / "text.txt", "--out", tmp_path / "made", "--vocab-size", 270)
    learned = public.load_tokenizer(tmp_path / "made")
    assert (code, out) == (0, f"{learned.vocab_size} tokens, saved in {tmp_path / 'made'}\n")
    _, out, _ = viva("tokenizer", "encode", tmp_path / "made", "low é")
    *tokens, total = out.splitlines()
    assert [int(line.split()[0]) for line in tokens] == learned.encode("low é")
    assert total == f"{len(tokens)} tokens for 6 bytes"


def test_tokenizer_template_brings_the_tokens_it_needs(viva, tiny, tmp_path):
    code, out, _ = viva("tokenizer", "template", tiny, "gemma", "--out", tmp_path / "new")
    assert code == 0
    assert out == f"gemma, 2 new tokens <start_of_turn> <end_of_turn>, saved in {tmp_path / 'new'}\n"
    made = public.load_tokenizer(tmp_path / "new")
    assert {"<start_of_turn>", "<end_of_turn>"} <= set(made.specials) and "<start_of_turn>model" in made.template
    code, _, err = viva("tokenizer", "template", tiny, "gema", "--out", tmp_path / "new")
    assert code == 2 and "must be one of those that come with viva, but found 'gema'" in err


def test_lineage_tells_the_chain_and_whether_files_are_intact(viva, tiny, tmp_path):
    public.load(tiny).save(tmp_path / "child")
    code, out, _ = viva("lineage", tmp_path / "child")
    assert code == 0
    child, parent = out.split(f"{tiny}\n  model")
    assert child.startswith(f"{tmp_path / 'child'}\n") and f"parent     {tiny}" in child
    assert "step       7" in parent and "data       abc" in parent and "none: begun from new weights" in parent
    assert out.count("verified by SHA-256") == 2


def test_lineage_tells_a_grown_tokenizer_from_its_parent(viva, tiny, tmp_path):
    """A copy has the parent's; one that has grown has not, though it has the parent's merges."""
    public.load(tiny).save(tmp_path / "copy")
    viva("tokenizer", "add", tiny, "--special", "<|new|>", "--out", tmp_path / "grown")
    shown = {}
    for name in ("copy", "grown"):
        _, out, _ = viva("lineage", tmp_path / name)
        shown[name] = [line.split()[1] for line in out.splitlines() if line.startswith("  tokenizer ")]
        assert len(shown[name]) == 2 and all(len(digits) == 16 for digits in shown[name])
    assert shown["copy"][0] == shown["copy"][1] == shown["grown"][1] != shown["grown"][0]


def test_lineage_of_a_damaged_checkpoint_is_an_error(viva, tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "copy")
    weights = tmp_path / "copy" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    code, out, _ = viva("lineage", tmp_path / "copy")
    assert code == 2
    assert "model.safetensors has changed since it was written" in out


def test_doctor_measures_and_says_why_not(viva, monkeypatch):
    monkeypatch.setattr(machine, "matrix_rate", lambda dtype, on: 123.0)
    monkeypatch.setattr(machine, "weight_rate", lambda dtype, on: 4.5)
    monkeypatch.setattr(machine, "read_rate", lambda on: 67.0)
    monkeypatch.setattr(product, "fastest", lambda few: measure.Verdict("oneDNN", "as the test says"))
    code, out, _ = viva("doctor")
    assert code == 0
    lines = dict(line.split(None, 1) for line in out.splitlines())
    assert lines["Python"].startswith(sys.version.split()[0])
    for dtype in ("float32", "bfloat16", "float16"):
        assert lines[dtype].startswith("matrix products 123 GFLOP/s, decoding 4.50 billion weights/s")
    assert {"torch", "threads", "memory", "disk", "CUDA", "tensorboard"} <= set(lines)
    assert lines["reading"].startswith("memory at 67 GB/s")
    assert lines["decoding"] == "1 thread: as OMP_NUM_THREADS says"
    if machine.device() == "cpu":
        assert lines["products"] == "by oneDNN: as the test says"
        assert lines["CUDA"].startswith("not used: this torch is built for")


@pytest.fixture
def recipe(tmp_path):
    lines = [f"{n} times to be or not to be, that is the question number {n * n}\n" for n in range(60)]
    (tmp_path / "text.txt").write_text("".join(lines), encoding="utf-8")
    tree = {
        "out": str(tmp_path / "run"),
        "model": {"kind": "llama", "width": 16, "layers": 1, "heads": 2, "context": 32},
        "tokenizer": {"vocab_size": 270},
        "data": {"kind": "files", "path": str(tmp_path / "text.txt"), "piece": 80},
        "valid": 0.2,
        "train": {"steps": 9, "context": 32, "batch": 4},
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return tmp_path / "tiny.yaml"


def test_train_then_generate_from_the_run(viva, recipe):
    code, out, _ = viva("train", recipe, "train.steps=2")
    assert code == 0
    run = recipe.parent / "run"
    assert f"try it: viva generate {run}" in out and "viva chat" not in out
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000002"]
    assert viva("generate", run, "to be", *COLD)[0] == 0


@pytest.mark.parametrize("plain", [True, False])
def test_a_run_that_learned_from_conversations_is_talked_to_by_chat(viva, recipe, plain):
    """And one on the same answers without a chat template is not."""
    talk = [{"role": "user", "content": "to be"}, {"role": "assistant", "content": "or not"}]
    row = {"prompt": "to be", "completion": "or not"} if plain else {"messages": talk}
    (recipe.parent / "talk.jsonl").write_text(f"{json.dumps(row)}\n" * 9)
    data = f"data={{kind: files, path: {recipe.parent}/talk.jsonl}}"
    code, out, _ = viva("train", recipe, "train.steps=1", "valid=0", data)
    run = recipe.parent / "run"
    told = f'try it: viva generate {run} "..."' if plain else f"talk to it: viva chat {run}"
    assert code == 0 and out.splitlines()[-1] == told


def test_an_unknown_key_in_an_override_names_the_nearest(viva, recipe):
    code, _, err = viva("train", recipe, "train.lrr=1")
    assert code == 2
    assert "train: unknown key 'lrr'; use 'lr' (the nearest)" in err


def test_a_dry_run_shows_what_is_learned_and_leaves_nothing(viva, recipe, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    code, out, _ = viva("train", recipe, "--dry-run")
    assert code == 0
    assert "an end token is the last thing learned in" in out and "nothing is wrong" in out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_dry_run_that_would_be_refused_is_code_1(viva, recipe):
    code, out, _ = viva("train", recipe, "--dry-run", "train.context=64")
    assert code == 1 and "WRONG: train.context must be at most the model's 32, but found 64" in out


def test_what_tells_of_a_dry_run_needs_one(viva, recipe):
    code, _, err = viva("train", recipe, "--json")
    assert code == 2 and "--html and --json must tell of a dry run, but found a run" in err


def test_quickstart_passes_on_what_it_is_told(viva, monkeypatch):
    told = []
    module = types.ModuleType("viva.quickstart")
    module.run = lambda *given: told.append(given)
    monkeypatch.setitem(sys.modules, "viva.quickstart", module)
    assert viva("quickstart", "--minutes", "0.5", "--fast", "--out", "there")[0] == 0
    assert viva("quickstart")[0] == 0
    assert told == [(0.5, True, Path("there")), (5.0, False, Path("runs/quickstart"))]
