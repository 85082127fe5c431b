"""A training step of LoRA: viva beside peft on transformers.

    python benchmarks/lora_step.py [--turns 9] [--targets attention | all] [--threads 1]

Same base, same adapters (the first losses are printed), full rows, fp32, AdamW, in turns, medians, memory of each
process. peft and transformers are in the `dev` extra.
"""

import argparse
import random
import tempfile
from functools import partial
from pathlib import Path

import torch

import rounds
import steps

LAYERS, WIDTH, HEADS, VOCAB, T, B = 4, 256, 4, 8192, 256, 8
RANK, ALPHA, LR = 16, 32, 1e-4
TARGETS = {
    "attention": (("attention.q", "attention.v"), ["q_proj", "v_proj"]),
    "all": (
        ("attention.q", "attention.k", "attention.v", "attention.out", "ffn.gate", "ffn.up", "ffn.down"),
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    ),
}


def saved(folder: Path, targets: str) -> None:
    """The common base, and an adapter of it in PEFT's form that everyone reads."""
    from viva.model import adapt, adapter
    from viva.model import folder as checkpoint
    from viva.model.adapt import lora
    from viva.model.arch import llama
    from viva.model.init import initialise

    shape = llama.Config(vocab=VOCAB, width=WIDTH, layers=LAYERS, heads=HEADS, context=T, tied=False)
    model = initialise(shape.spec().build())
    checkpoint.save(folder / "base", shape, model)
    config = lora.Config(rank=RANK, alpha=ALPHA, targets=TARGETS[targets][0])
    adapt.attach(model, config)
    with torch.no_grad():
        for change in adapt.changes(model):
            for parameter in change.parameters():
                parameter.normal_(std=0.02)
    made = adapter.Adapter(config=config, base=str(folder / "base"), fingerprint="")
    adapter.save_as_peft(folder / "adapter", shape, made, model)


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """B rows of T inputs, and their targets."""
    draw = random.Random(0)
    texts = torch.tensor([[draw.randrange(VOCAB) for _ in range(T + 1)] for _ in range(B)])
    return texts[:, :-1].contiguous(), texts[:, 1:].contiguous()


def viva(folder: Path, threads: int):
    import viva as public
    from viva.train.batch import Batch
    from viva.train.objective.causal import Config

    torch.set_num_threads(threads)
    model = public.load(folder / "base", adapter=folder / "adapter").model
    ids, targets = rows()
    return steps.ours(model, Config().build(), Batch(ids, targets, ((T,),) * B), LR)


def peft(folder: Path, threads: int):
    """As PEFT's own trainers write it: logits, cross-entropy, fused AdamW over what is trained."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    base = AutoModelForCausalLM.from_pretrained(folder / "base", attn_implementation="sdpa", dtype=torch.float32)
    model = PeftModel.from_pretrained(base, folder / "adapter", is_trainable=True).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LR, weight_decay=0.0, fused=True)
    ids, targets = rows()

    def turn() -> float:
        logits = model(input_ids=ids, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return turn, turn()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--turns", type=int, default=9)
    options.add_argument("--targets", choices=TARGETS, default="attention")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        saved(Path(place), chosen.targets)
        how = {"folder": Path(place), "threads": chosen.threads}
        results = rounds.play({"viva": partial(viva, **how), "peft": partial(peft, **how)}, chosen.turns)
    print(
        f"LoRA of rank {RANK} on {', '.join(TARGETS[chosen.targets][0])}; llama of {LAYERS} layers x {WIDTH}, {B} rows"
    )
    print(f"of {T} tokens, {VOCAB} words, fp32, {chosen.threads} threads, {chosen.turns} turns each")
    print("| | seconds a step | tokens/s | memory, MiB | first loss |\n|---|---|---|---|---|")
    for name, result in results.items():
        rate, memory = B * T / result.median, result.memory
        print(f"| {name} | {result.median:.3f} | {rate:,.0f} | {memory:.0f} | {result.facts:.5f} |")
    ratio = results["peft"].median / results["viva"].median
    print(f"viva takes {ratio:.2f} steps for one of peft")


if __name__ == "__main__":
    main()
