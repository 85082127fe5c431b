"""Decoding one text: viva beside transformers, the bare products and the machine's memory bandwidth.

    python benchmarks/generate.py tiny|qwen2-0.5b|cold [--turns 5]

`tiny`: a llama of 4 layers x 128. `qwen2-0.5b`: random weights in the shape of Qwen2-0.5B, fp32. Beside both: the time
that reading the weights once a token takes, and that of multiplying each with one vector. `cold`: a new process from
its start to the first token. Same weights, in turns, medians.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

import torch

import rounds

TOKENS, PROMPT = 64, list(range(1, 33))


def config(shape: str):
    from viva.model.arch import llama, qwen2

    if shape == "qwen2-0.5b":
        return qwen2.Config(
            vocab=151936, width=896, layers=24, heads=14, kv_heads=2, hidden=4864, context=4096, tied=True
        )
    return llama.Config(vocab=1000, width=128, layers=4, heads=4, context=512)


def saved(folder: Path, shape: str) -> None:
    """The common weights, with a tokenizer, as a folder that both read."""
    from viva.model import folder as checkpoint
    from viva.model.init import initialise
    from viva.model.transformer import Transformer
    from viva.text.tokens.learn import byte_bpe

    tokenizer = byte_bpe.train(["some words to merge, some words to learn\n" * 3], byte_bpe.Config(vocab_size=300))
    checkpoint.save(folder, config(shape), initialise(Transformer(config(shape).spec())), tokenizer)


def viva(folder: Path):
    from viva.infer.generate import generate_batch
    from viva.infer.sampling import Sampling
    from viva.model import folder as checkpoint

    model = checkpoint.load(folder).model
    sampling = Sampling(temperature=0.0, max_new_tokens=TOKENS)
    turn = partial(generate_batch, model, [PROMPT], sampling)
    return turn, turn()[0][:8]


def transformers(folder: Path):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    ids = torch.tensor([PROMPT])
    turn = partial(
        model.generate, ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=TOKENS, pad_token_id=0
    )
    return turn, turn()[0, len(PROMPT) :][:8].tolist()


def matrices(folder: Path) -> list[torch.Tensor]:
    from viva.model import folder as checkpoint

    return [p.detach() for p in checkpoint.load(folder).model.parameters() if p.ndim == 2]


def reading(folder: Path):
    """The bound: every weight read once a token, by a sum."""
    weights = [matrix.clone() for matrix in matrices(folder)]  # off the file's map

    def turn() -> None:
        for _ in range(TOKENS):
            for matrix in weights:
                matrix.sum()

    return turn, None


def products(folder: Path, by: str):
    """Every weight multiplied with one vector a token, and nothing else."""
    from viva.base import product

    multiply = product.product if by == "viva" else torch.nn.functional.linear
    weights = [matrix.clone() for matrix in matrices(folder)]
    vectors = {n: torch.randn(1, n) for n in {matrix.shape[1] for matrix in weights}}

    def turn() -> None:
        for _ in range(TOKENS):
            for matrix in weights:
                multiply(vectors[matrix.shape[1]], matrix)

    return turn, None


COLD = {
    "viva": "import viva; m = viva.load({0!r}); next(m.stream('some words', temperature=0.0, max_new_tokens=8))",
    "transformers": "from transformers import AutoModelForCausalLM as M, AutoTokenizer as T; "
    "t = T.from_pretrained({0!r}); m = M.from_pretrained({0!r}); "
    "m.generate(**t('some words', return_tensors='pt'), do_sample=False, max_new_tokens=1)",
    "import torch alone": "import torch",
}


def cold(folder: Path, turns: int) -> None:
    times = {name: [] for name in COLD}
    for _ in range(turns + 1):
        for name, code in COLD.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code.format(str(folder))], check=True, capture_output=True)
            times[name].append(time.perf_counter() - start)
    for name, seconds in times.items():
        print(f"{name:20}{median(seconds[1:]):7.2f} s to the first token")
    ratios = [a / b for a, b in zip(times["viva"][1:], times["transformers"][1:], strict=True)]
    print(f"viva / transformers {median(ratios):.2f}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=("tiny", "qwen2-0.5b", "cold"))
    options.add_argument("--turns", type=int, default=5)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        saved(folder, chosen.what)
        if chosen.what == "cold":
            cold(folder, chosen.turns)
            return
        contestants = {
            "viva": viva,
            "transformers": transformers,
            "weights read": reading,
            "products by viva": partial(products, by="viva"),
            "products by torch": partial(products, by="torch"),
        }
        results = rounds.play({name: partial(make, folder) for name, make in contestants.items()}, chosen.turns)
    print(f"{TOKENS} tokens after {len(PROMPT)}, fp32, {torch.get_num_threads()} threads, {chosen.turns} turns")
    for name, result in results.items():
        ratio = result.median / results["viva"].median
        share = results["weights read"].median / result.median
        rate = TOKENS / result.median
        print(f"{name:18}{rate:9.1f} tokens/s, {share:4.0%} of bandwidth, viva is {ratio:5.2f}x  {result.facts or ''}")


if __name__ == "__main__":
    main()
