"""A file of prompts whose process is killed, and gone on with until all are answered: no row twice, none missing."""

import json
import random
import subprocess
import sys
import time

import pytest

from infer.serving import random_model
from viva.model import folder
from viva.model.arch import llama
from viva.serve.begun import REPLIES, place
from viva.text.tokens.learn import byte_bpe

COUNT = 400


@pytest.mark.slow
def test_killed_at_random_moments_it_writes_the_same_file(tmp_path):
    tokenizer = byte_bpe.train(["nothing to merge"], byte_bpe.Config(vocab_size=300))
    config = llama.TINY.model_copy(update={"vocab": tokenizer.vocab_size, "context": 96})
    folder.save(tmp_path / "model", config, random_model(config.spec()), tokenizer=tokenizer)
    rows = [
        {"id": number, "prompt": f"row {number % 50}", "max_new_tokens": 10 + number % 40} for number in range(COUNT)
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(tmp_path, "whole.jsonl").wait() == 0
    draw, kills = random.Random(5), []
    for _ in range(4):
        process = run(tmp_path, "out.jsonl")
        lines = place(tmp_path / "out.jsonl") / REPLIES
        while process.poll() is None and count(lines) <= sum(kills):  # it has begun to answer
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.4))
        process.kill()
        process.wait()
        kills.append(count(lines) - sum(kills))
    process = run(tmp_path, "out.jsonl")
    told, _ = process.communicate()
    assert 0 < sum(kills) < COUNT and kills[1] > 0, kills
    assert f"{COUNT} rows answered, {sum(kills)} of them before" in told
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def run(folder, out: str) -> subprocess.Popen:
    words = ["generate", "model", "--input", "in.jsonl", "--output", out, "--seed", "3"]
    command = [sys.executable, "-m", "viva.cli", *words]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def count(lines) -> int:
    return lines.read_bytes().count(b"\n") if lines.exists() else 0
