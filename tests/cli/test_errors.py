"""What a mistake looks like: one sentence on stderr, exit code 2, no traceback."""

import os
import subprocess
import sys

import pytest

from viva import api
from viva.base.errors import Refusal
from viva.cli import main


def test_help_does_not_wait_for_torch():
    """It takes under a second of the processor: of the clock's time other work may take a share."""
    code = "import sys\nfrom viva.cli import main\nmain({words})\nassert 'torch' not in sys.modules"
    for words in (["--help"], ["generate", "--help"]):
        before = os.times()
        done = subprocess.run([sys.executable, "-c", code.format(words=words)], capture_output=True, text=True)
        after = os.times()
        assert done.returncode == 0, done.stderr
        assert "Usage: viva" in done.stdout
        spent = (after.children_user - before.children_user) + (after.children_system - before.children_system)
        assert spent < 1


VERBS = {
    "quickstart": [],
    "train": [],
    "generate": [],
    "chat": [],
    "tokenizer": ["train", "encode"],
    "compare": [],
    "fields": [],
    "doctor": [],
    "lineage": [],
}


def test_help_shows_every_verb_and_each_an_example(viva):
    _, listed, _ = viva("--help")
    for verb, below in VERBS.items():
        assert f"│ {verb} " in listed
        for words in [[verb, part] for part in below] or [[verb]]:
            code, shown, _ = viva(*words, "--help")
            assert code == 0
            assert f"Example: viva {' '.join(words)}" in shown


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["genrate"], 'Unknown command "genrate". Did you mean "generate"?'),
        (["generate", "m", "p", "--temperatur", "1"], "Unknown option: --temperatur. Did you mean --temperature?"),
        (["generate", "no-such-folder", "hi"], "a model must be a folder or a hub id such as owner/name, but found"),
        (
            ["generate", "m", "p", "--top-p", "0"],
            "top_p: Input should be greater than or equal to 0.000001 (given '0')",
        ),
        (["generate", "m", "p", "--max-new-tokens", "many"], "max_new_tokens: Input should be a valid integer"),
        (["train", "no-such.yaml"], "a recipe must be an existing file, but found no-such.yaml"),
        (["generate"], "requires an argument"),
    ],
)
def test_a_mistake_is_one_sentence(viva, words, sentence):
    code, out, err = viva(*words)
    assert code == 2
    assert out == ""
    assert sentence in err
    assert err.startswith("viva: ") and err.count("\n") == 1


def test_an_impossible_prompt_is_refused_before_anything_is_written(viva, tiny):
    code, out, err = viva("generate", tiny, "word " * 200)
    assert (code, out) == (2, "")
    assert "a prompt must fit the model's context of 96 tokens, but found" in err


def test_debug_shows_where_a_mistake_came_from():
    with pytest.raises(Refusal):
        main(["generate", "no-such-folder", "hi", "--debug"])


def test_an_interrupt_is_130_without_a_traceback(viva, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "load", interrupted)
    assert viva("generate", "m", "hi") == (130, "", "\n")


def test_a_fault_of_ours_is_not_hidden(monkeypatch):
    monkeypatch.setattr(api, "load", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["generate", "m", "hi"])


def test_a_reader_that_has_seen_enough_is_no_error(tiny):
    """`viva tokenizer encode ... | head -1`, with more tokens than a pipe holds."""
    words = [sys.executable, "-m", "viva.cli", "tokenizer", "encode", str(tiny), "word " * 20_000]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
