"""What memory it takes to begin a run on a base in 4 bits: that of the result and of a tensor on the way."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch

from viva.model import folder
from viva.model.arch import llama
from viva.model.init import initialise
from viva.text.tokens.learn import byte_bpe

from .runs import WORDS, text

SIZES = {"width": 384, "layers": 20, "heads": 6, "hidden": 1024, "context": 32}
ELSE = 12e6  # bytes of all that is no model: documents, the tokenizer
# how much memory of its own the process has at most while the parts of a run are made, beyond what it had before
MEASURED = """
import sys, threading
from pathlib import Path
from viva.base.config import parse
from viva.train import start
from viva.train.recipe import Recipe, claim

def own():
    [line] = [line for line in open("/proc/self/status") if line.startswith("RssAnon")]
    return int(line.split()[1]) * 1024

def watch():
    while not done.wait(0.001):
        peak[0] = max(peak[0], own())

init, data, out, adapter = sys.argv[1:]
tree = {
    "out": out, "init": init, "data": {"kind": "files", "path": data}, "valid": 0, "adapter": {"kind": "lora"},
    "train": {"steps": 1, "batch": 1, "context": 32, "precision": "fp32", "device": "cpu"},
}
recipe = parse(Recipe, tree, {"adapter": adapter})
where, before, done = claim(recipe), own(), threading.Event()
peak = [before]
watcher = threading.Thread(target=watch)
watcher.start()
start.parts(recipe, where)
done.set()
watcher.join()
print(peak[0] - before)
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder of a model, in bf16, and one of text."""
    place = tmp_path_factory.mktemp("packed")
    tokenizer = byte_bpe.Config(vocab_size=290).learn([" ".join(WORDS)] * 4)
    config = llama.Config(vocab=tokenizer.vocab_size, **SIZES)
    model = initialise(config.spec().build()).to(torch.bfloat16)
    folder.save(place / "base", config, model, tokenizer)
    return place / "base", text(place / "data.jsonl"), model


def peak(base, out, adapter):
    """In bytes."""
    code = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(MEASURED), *map(str, base[:2]), str(out), adapter]
    # the C library gives freed blocks back at once, or holes between others would be counted by chance
    given_back = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}
    return int(subprocess.run(code, check=True, capture_output=True, text=True, env=given_back).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_base_in_4_bits_is_never_there_in_32(base, tmp_path):
    """Of 35 million weights."""
    weights = [p.numel() for p in base[2].parameters()]
    inside, largest = sum(weights), max(weights)
    assert peak(base, tmp_path / "plain", "{kind: lora}") > 4 * inside
    packed = 4.2 / 8 * inside + 8 * 4 * largest  # a tensor as it was read, joined, by its scales, as its codes
    assert peak(base, tmp_path / "packed", "{kind: lora, quantize: nf4}") < packed + ELSE < 0.5 * 4 * inside
