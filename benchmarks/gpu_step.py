"""A training step of a published shape on one GPU: viva beside transformers, peft, bitsandbytes and a bare loop of DPO.

    python benchmarks/gpu_step.py [--turns 7] [--ways full lora qlora dpo] [--rows 8] [--tokens 1024] [--layers 24]

Qwen2-0.5B's shape with random weights, full rows, bf16 by autocast, AdamW; peft's frozen base is in bf16, as it is
used. Adapters are on every linear map. Same weights, same rows, in turns, medians, the GPU's memory of each process;
the first losses are printed. peft and transformers are in the `dev` extra; of qlora, the peer needs bitsandbytes.
"""

import argparse
import random
import tempfile
from functools import partial
from pathlib import Path

import torch

import dpo_step
import rounds
import steps

VOCAB, WIDTH, HEADS, KV_HEADS, HIDDEN = 151_936, 896, 14, 2, 4864
RANK, ALPHA, LR = 16, 32, 1e-5
TARGETS = {
    "attention.q": "q_proj",
    "attention.k": "k_proj",
    "attention.v": "v_proj",
    "attention.out": "o_proj",
    "ffn.gate": "gate_proj",
    "ffn.up": "up_proj",
    "ffn.down": "down_proj",
}


def saved(folder: Path, layers: int, context: int) -> None:
    from viva.model import folder as checkpoint
    from viva.model.arch import qwen2
    from viva.model.init import initialise

    shape = qwen2.Config(
        vocab=VOCAB, width=WIDTH, layers=layers, heads=HEADS, kv_heads=KV_HEADS, hidden=HIDDEN, context=context,
        position={"theta": 1e6}, tied=True,
    )  # fmt: skip
    checkpoint.save(folder, shape, initialise(shape.spec().build()))


def texts(rows: int, tokens: int) -> torch.Tensor:
    """[rows, tokens + 1] of any tokens."""
    return torch.randint(VOCAB, (rows, tokens + 1), generator=torch.Generator().manual_seed(0))


def pairs(count: int, tokens: int) -> list[tuple[list[int], list[int], list[int]]]:
    """Prompt, chosen and rejected answer, up to `tokens` a side, half of them the prompt."""
    draw = random.Random(0)
    ids = lambda length: [draw.randrange(VOCAB) for _ in range(length)]  # noqa: E731
    lengths = [[tokens // 2, *(draw.randint(tokens // 4, tokens // 2) for _ in range(2))] for _ in range(count)]
    return [tuple(map(ids, each)) for each in lengths]


def autocast():
    return torch.autocast("cuda", torch.bfloat16)


def loaded(folder: Path):
    """viva's model on the GPU."""
    from viva.model import folder as checkpoint

    return checkpoint.load(folder).model.cuda()


def adapted(folder: Path, quantize: str | None):
    """The same with an adapter, its base kept as `quantize` says."""
    from viva.model import adapt
    from viva.model.adapt import lora

    model = loaded(folder)
    adapt.attach(model, lora.Config(rank=RANK, alpha=ALPHA, targets=tuple(TARGETS), quantize=quantize))
    return model


def viva(folder: Path, rows: int, tokens: int, way: str):
    from viva.train.batch import Batch
    from viva.train.objective.causal import Config

    model = loaded(folder) if way == "full" else adapted(folder, "nf4" if way == "qlora" else None)
    ids = texts(rows, tokens).cuda()
    batch = Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), ((tokens,),) * rows)
    return steps.ours(model, Config().build(), batch, LR, autocast)


def viva_dpo(folder: Path, rows: int, tokens: int):
    batch = dpo_step.laid(pairs(rows, tokens)).to("cuda")
    return steps.ours(loaded(folder), dpo_step.against(loaded(folder)), batch, dpo_step.LR, autocast)


def theirs(folder: Path, way: str):
    """What is trained by transformers or peft: the model on the GPU."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    read = partial(AutoModelForCausalLM.from_pretrained, folder, attn_implementation="sdpa", device_map={"": "cuda"})
    if way == "full":
        return read(dtype=torch.float32)
    small = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )  # fmt: skip
    base = read(dtype=torch.bfloat16, **({"quantization_config": small} if way == "qlora" else {}))
    return get_peft_model(base, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(TARGETS.values())))


def optimised(model: torch.nn.Module) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(trained, lr=LR, weight_decay=0.0, fused=True)


def peer(folder: Path, rows: int, tokens: int, way: str):
    """As their trainers write it: logits, cross-entropy, fused AdamW over what is trained."""
    model = theirs(folder, way).train()
    optimizer, ids = optimised(model), texts(rows, tokens).cuda()

    def turn() -> float:
        with autocast():
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return turn, turn()


def bare_dpo(folder: Path, rows: int, tokens: int):
    """The bare loop with the logits of completions alone."""
    model, frozen = theirs(folder, "full").train(), theirs(folder, "full").eval().requires_grad_(False)
    given = {name: laid.cuda() for name, laid in dpo_step.padded(pairs(rows, tokens)).items()}
    return dpo_step.looped(model, frozen, given, completions=True, autocast=autocast)


WAYS = {
    "full": {"viva": partial(viva, way="full"), "transformers": partial(peer, way="full")},
    "lora": {"viva": partial(viva, way="lora"), "peft": partial(peer, way="lora")},
    "qlora": {"viva": partial(viva, way="qlora"), "peft, bitsandbytes": partial(peer, way="qlora")},
    "dpo": {"viva": viva_dpo, "bare loop": bare_dpo},
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--turns", type=int, default=7)
    options.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    options.add_argument("--rows", type=int, default=8, help="of dpo, pairs")
    options.add_argument("--tokens", type=int, default=1024)
    options.add_argument("--layers", type=int, default=24)
    chosen = options.parse_args()
    shape = f"{chosen.layers} layers x {WIDTH}, {VOCAB} words"
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: {shape},")
    print(f"{chosen.rows} rows (pairs) of {chosen.tokens} tokens, bf16, {chosen.turns} turns each", flush=True)
    print("| | | seconds a step | memory of the GPU, MiB | viva is | first loss |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        saved(folder, chosen.layers, chosen.tokens)
        for way in chosen.ways:
            how = {"folder": folder, "rows": chosen.rows, "tokens": chosen.tokens}
            seats = {name: partial(seat, **how) for name, seat in WAYS[way].items()}
            results = rounds.play(seats, chosen.turns)
            for name, found in results.items():
                ratio = f"{found.median / results['viva'].median:.2f}x" if "viva" in results else ""
                print(f"| {way} | {name} | {found.median:.4f} | {found.memory:,.0f} | {ratio} | {found.facts:.5f} |")


if __name__ == "__main__":
    main()
