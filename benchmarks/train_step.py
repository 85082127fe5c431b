"""A training step: viva beside transformers and litgpt, eager and compiled, and beside its bare matrix products.

    python benchmarks/train_step.py [--turns 5] [--compiled] [--documents]

Same shapes, same weights (the first losses are printed), fp32, AdamW, in turns, medians. `--documents` gives uneven
short documents instead of full rows: viva packs them, the others pad them. The products are given twice: by the library
that viva measures to be the faster one here, and by torch's default. Needs the packages to compare with: transformers
(in the `dev` extra) and, if wanted, litgpt.
"""

import argparse
import random
import tempfile
from functools import partial
from pathlib import Path

import torch

import rounds
import steps

LAYERS, WIDTH, HEADS, HIDDEN, VOCAB, T, B = 8, 512, 8, 1376, 8192, 512, 8
LR = 1e-5


def shape():
    from viva.model.arch import llama

    return llama.Config(vocab=VOCAB, width=WIDTH, layers=LAYERS, heads=HEADS, hidden=HIDDEN, context=T, tied=False)


def saved(folder: Path) -> None:
    """The common starting point, as a folder that everyone reads."""
    from viva.model import folder as checkpoint
    from viva.model.init import initialise
    from viva.model.transformer import Transformer

    checkpoint.save(folder, shape(), initialise(Transformer(shape().spec())))


def full_rows() -> list[list[int]]:
    """B rows of T inputs and a last target."""
    draw = random.Random(0)
    return [[draw.randrange(VOCAB) for _ in range(T + 1)] for _ in range(B)]


def uneven_documents() -> list[list[int]]:
    """As many tokens in documents of 16 to T, most of them short (log-normal, median 90)."""
    draw, found = random.Random(0), []
    while sum(map(len, found)) < B * T:
        found.append([draw.randrange(VOCAB) for _ in range(min(T, max(16, int(draw.lognormvariate(4.5, 0.8)))) + 1)])
    return found


def viva(folder: Path, texts: list[list[int]]):
    from viva.model import folder as checkpoint
    from viva.text.cache.pack import pack, spans
    from viva.train.batch import Batch
    from viva.train.objective.causal import Config

    rows = pack(spans([len(text) for text in texts], T)[0], T, seed=0)
    ids, targets = torch.zeros(len(rows), T, dtype=torch.long), torch.full((len(rows), T), -100)
    for b, row in enumerate(rows):
        at = 0
        for document, start, length in row:
            text = torch.tensor(texts[document][start : start + length + 1])
            ids[b, at : at + length], targets[b, at : at + length] = text[:-1], text[1:]
            at += length
    batch = Batch(ids, targets, tuple(tuple(span.length for span in row) for row in rows))
    return steps.ours(checkpoint.load(folder).model, Config().build(), batch, LR)


def padded(texts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """ids, attention mask and targets, padded on the right to the longest text."""
    longest = max(map(len, texts)) - 1
    ids, mask = (torch.zeros(len(texts), longest, dtype=torch.long) for _ in range(2))
    targets = torch.full((len(texts), longest), -100)
    for b, text in enumerate(texts):
        n = len(text) - 1
        ids[b, :n], targets[b, :n], mask[b, :n] = torch.tensor(text[:-1]), torch.tensor(text[1:]), 1
    return ids, mask, targets


def peer(model: torch.nn.Module, logits, texts: list[list[int]], compiled: bool):
    """A step as these libraries' own trainers write it: logits, cross-entropy, fused AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.0, fused=True)
    run = torch.compile(model) if compiled else model
    ids, mask, targets = padded(texts)

    def turn() -> float:
        scores = logits(run, ids, mask)
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return turn, turn()


def transformers(folder: Path, texts: list[list[int]], compiled: bool = False):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa", dtype=torch.float32).train()
    full = len({len(text) for text in texts}) == 1

    def logits(run, ids, mask):
        return run(input_ids=ids, attention_mask=None if full else mask, use_cache=False).logits

    return peer(model, logits, texts, compiled)


def litgpt(folder: Path, texts: list[list[int]], compiled: bool = False):
    from litgpt import GPT
    from litgpt import Config as LitConfig
    from safetensors.torch import load_file

    config = LitConfig(
        name="bench", block_size=T, vocab_size=VOCAB, padded_vocab_size=VOCAB, n_layer=LAYERS, n_head=HEADS,
        n_embd=WIDTH, rotary_percentage=1.0, parallel_residual=False, bias=False, norm_class_name="RMSNorm",
        norm_eps=1e-6, mlp_class_name="LLaMAMLP", intermediate_size=HIDDEN,
    )  # fmt: skip
    model, theirs = GPT(config).train(), load_file(folder / "model.safetensors")
    ours = {"lm_head.weight": theirs["lm_head.weight"], "transformer.wte.weight": theirs["model.embed_tokens.weight"],
            "transformer.ln_f.weight": theirs["model.norm.weight"]}  # fmt: skip
    for i in range(LAYERS):
        source, target = f"model.layers.{i}.", f"transformer.h.{i}."
        projections = (theirs[f"{source}self_attn.{name}_proj.weight"] for name in "qkv")
        ours[target + "attn.qkv.weight"] = torch.cat(list(projections))
        for mine, other in {"norm_1": "input_layernorm", "norm_2": "post_attention_layernorm",
                            "attn.proj": "self_attn.o_proj", "mlp.fc_1": "mlp.gate_proj",
                            "mlp.fc_2": "mlp.up_proj", "mlp.proj": "mlp.down_proj"}.items():  # fmt: skip
            ours[f"{target}{mine}.weight"] = theirs[f"{source}{other}.weight"]
    model.load_state_dict(ours)
    return peer(model, lambda run, ids, mask: run(ids), texts, compiled)


def products(texts: list[list[int]], by: str):
    """The matrix products of a step's linear layers and nothing else: output, gradient by input, gradient by weight."""
    from viva.base import machine, product

    multiply = product.product if by == "viva" else torch.nn.functional.linear
    machine.keep_freed_memory()
    tokens = sum(len(text) - 1 for text in texts)
    layer = [(WIDTH, WIDTH)] * 4 + [(WIDTH, HIDDEN)] * 2 + [(HIDDEN, WIDTH)]
    sizes = layer * LAYERS + [(WIDTH, VOCAB)]
    x = {n: torch.randn(tokens, n) for n in {n for pair in sizes for n in pair}}
    weights = [torch.randn(out, inside) for inside, out in sizes]

    def turn() -> None:
        for weight in weights:
            out, inside = weight.shape
            multiply(x[inside], weight), multiply(x[out], weight.T), multiply(x[out].T, x[inside].T)

    return turn, None


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--turns", type=int, default=5)
    options.add_argument("--compiled", action="store_true", help="the peers compiled as well (a minute each)")
    options.add_argument("--documents", action="store_true", help="uneven documents instead of full rows")
    chosen = options.parse_args()
    from viva.base import machine

    texts = uneven_documents() if chosen.documents else full_rows()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        saved(folder)
        contestants = {
            "viva": partial(viva, folder, texts),
            "transformers": partial(transformers, folder, texts),
            "litgpt": partial(litgpt, folder, texts),
            "products by viva": partial(products, texts, "viva"),
            "products by torch": partial(products, texts, "torch"),
        }
        if chosen.compiled:
            contestants["transformers compiled"] = partial(transformers, folder, texts, compiled=True)
            contestants["litgpt compiled"] = partial(litgpt, folder, texts, compiled=True)
        results = rounds.play(contestants, chosen.turns)
    tokens = sum(len(text) - 1 for text in texts)
    flops = 6 * tokens * (LAYERS * (4 * WIDTH**2 + 3 * WIDTH * HIDDEN) + WIDTH * VOCAB)
    peak = machine.matrix_rate("float32", "cpu")
    print(f"{tokens} tokens in {len(texts)} texts, fp32, {torch.get_num_threads()} threads, {chosen.turns} turns each")
    print(f"the matrix peak, a square product here and now: {peak:.0f} GFLOP/s")
    print(f"{'':24}{'tokens/s':>10}{'GFLOP/s':>9}{'of peak':>9}{'MiB':>7}{'viva is':>9}  first loss")
    for name, result in results.items():
        ratio = result.median / results["viva"].median
        loss = "" if result.facts is None else f"{result.facts:.5f}"
        rate, speed = tokens / result.median, flops / result.median / 1e9
        print(f"{name:24}{rate:10.0f}{speed:9.0f}{speed / peak:9.0%}{result.memory:7.0f}{ratio:8.2f}x  {loss}")


if __name__ == "__main__":
    main()
