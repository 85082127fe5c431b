"""Many requests to one model: viva's engine beside transformers' continuous and static batches.

    python benchmarks/serve.py peers [--turns 3] [--requests 32] [--peers viva continuous static]
    python benchmarks/serve.py peers --device cuda --layers 24 --requests 256 --peers viva unrecorded continuous
    python benchmarks/serve.py profile
    python benchmarks/serve.py alone [--turns 5]
    python benchmarks/serve.py shared [--turns 3]

The model has random weights in the shape of Qwen2-0.5B at half depth, 12 layers; fp32 on a CPU, bf16 on a GPU.
`peers`: 32 requests with prompts of 16 to 256 tokens and replies of 16 to 128, all there from the start, the same
weights, greedy, in turns, medians; their first tokens are compared. Beside them `products`: what the products of all
tokens take, if every step were full; and `unrecorded`: viva's engine on a GPU that is told every operation anew.
`profile`: where the engine's time goes. `alone`: one request, beside what reading the weights once a token takes.
`shared`: the time to the first token where a share of each prompt has been read before. `llama_cpp` is llama.cpp's
server in F16, where `LLAMA_SERVER` says where that program is.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

import rounds
from llama_cpp import llama_cpp

VOCAB = 151936
PROMPT, REPLY = (16, 256), (16, 128)
DTYPES = {"cpu": torch.float32, "cuda": torch.bfloat16}


@dataclass(frozen=True)
class On:
    """What a contestant computes on, and its bounds: `blocks` of 16 tokens, `rows` and `step`'s tokens at once."""

    device: str = "cpu"
    blocks: int = 1200
    rows: int = 64
    step: int = 512

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.device]


GPU = On("cuda", 16384, 256, 8192)


def config(layers: int):
    from viva.model.arch import qwen2

    return qwen2.Config(
        vocab=VOCAB, width=896, layers=layers, heads=14, kv_heads=2, hidden=4864, context=4096, tied=True
    )


def saved(folder: Path, layers: int) -> None:
    """The common weights as a folder that all read; scaled up, so that no two scores are nearly equal."""
    from viva.model import folder as checkpoint
    from viva.model.init import initialise
    from viva.model.transformer import Transformer

    checkpoint.save(folder, config(layers), initialise(Transformer(config(layers).spec())), None)


def asked(count: int) -> list[tuple[list[int], int]]:
    """So many prompts, each with the length of its reply."""
    source = random.Random(0)
    draw = lambda n: [source.randrange(VOCAB) for _ in range(n)]  # noqa: E731
    return [(draw(source.randint(*PROMPT)), source.randint(*REPLY)) for _ in range(count)]


def core(folder: Path, on: On):
    """An engine as `viva.Engine` makes it, without its thread."""
    from viva.base import machine
    from viva.base.product import pack
    from viva.infer.engine.engine import Core
    from viva.infer.engine.schedule import Limits
    from viva.model import folder as checkpoint

    machine.keep_freed_memory()
    model = checkpoint.load(folder).model.to(on.device, on.dtype)
    for weight in model.parameters():
        if weight.ndim == 2:
            pack(weight)
    return Core({"": model}, None, on.blocks, limits=Limits(on.rows, on.step, on.step // 2))


def replies(engine, requests: list[tuple[list[int], int]]) -> list[list[int]]:
    """The tokens of each reply, all asked for at once."""
    from viva.infer.engine.asked import Asked

    numbers = [
        engine.add(prompt, Asked(temperature=0, max_new_tokens=count), stops=frozenset())[0]
        for prompt, count in requests
    ]
    made: dict[int, list[int]] = {number: [] for number in numbers}
    for delta in engine.run():
        if delta.error:
            raise RuntimeError(delta.error)
        made[delta.number].append(delta.picked.token)
    return [made[number] for number in numbers]


def viva(folder: Path, requests: list, on: On, recorded: bool = True):
    engine = core(folder, on)
    if not recorded:
        from viva.infer.engine.read import Reader

        engine.reader = Reader(engine.pool, recorded=False)
    engine.state.blocks.find = lambda keys: []  # what an earlier turn read is not found again
    turn = partial(replies, engine, requests)
    return turn, [reply[:8] for reply in turn()]


def unrecorded(folder: Path, requests: list, on: On):
    return viva(folder, requests, on, recorded=False)


def continuous(folder: Path, requests: list, on: On):
    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.generation.configuration_utils import ContinuousBatchingConfig

    model = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=on.dtype, attn_implementation="sdpa").eval().to(on.device)
    )
    # on a GPU it finds out itself what it has room for, and whether to record graphs
    bounds = {"num_blocks": on.blocks, "max_batch_tokens": on.step} if on.device == "cpu" else {}
    told = GenerationConfig(max_new_tokens=max(REPLY), do_sample=False, eos_token_id=-1, pad_token_id=0)

    def turn() -> list[list[int]]:
        manager = model.init_continuous_batching(told, ContinuousBatchingConfig(**bounds))
        manager.start()
        names = [manager.add_request(prompt, max_new_tokens=count) for prompt, count in requests]
        found: dict[str, list[int]] = {}
        while len(found) < len(names):
            result = manager.get_result(timeout=1)
            if result is None and not manager.is_running():
                raise RuntimeError("its loop has ended before its replies have")
            if result is not None and result.is_finished():
                found[result.request_id] = list(result.generated_tokens)
        manager.stop(block=True)
        return [found[name] for name in names]

    return turn, [reply[:8] for reply in turn()]


def static(folder: Path, requests: list, on: On, rows: int = 8):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=on.dtype).eval().to(on.device)
    model.generation_config.eos_token_id = None

    def turn() -> list[list[int]]:
        made = []
        for at in range(0, len(requests), rows):
            part = requests[at : at + rows]
            longest = max(len(prompt) for prompt, _ in part)
            ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt, _ in part])
            mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt, _ in part])
            most = max(count for _, count in part)
            ids, mask = ids.to(on.device), mask.to(on.device)
            out = model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=most, pad_token_id=0)
            made += [row[longest:][:count].tolist() for row, (_, count) in zip(out, part, strict=True)]
        return made

    return turn, [reply[:8] for reply in turn()]


def products(folder: Path, requests: list, on: On):
    """The bound: prompts in whole steps, replies in steps of all requests, nothing but products."""
    from viva.base.product import pack, rowwise
    from viva.base.product import product as multiply
    from viva.model import folder as checkpoint

    model = checkpoint.load(folder).model.to(on.device, on.dtype)
    ones = partial(torch.ones, device=on.device, dtype=on.dtype)
    body = [weight.detach() for weight in model.decoder.parameters() if weight.ndim == 2]
    head = model.embedding.weight.detach()
    for weight in (*body, head):
        pack(weight)
    prompts, made = sum(len(prompt) for prompt, _ in requests), sum(count for _, count in requests)

    @torch.inference_mode()
    def turn() -> None:
        with rowwise():
            for rows in (on.step,) * (prompts // on.step):
                for weight in body:
                    multiply(ones(rows, weight.shape[1]), weight)
            for _ in range(made // len(requests)):
                for weight in (*body, head):
                    multiply(ones(len(requests), weight.shape[1]), weight)
        if on.device == "cuda":
            torch.cuda.synchronize()

    return turn, None


PEERS: dict[str, Callable] = {
    "viva": viva,
    "unrecorded": unrecorded,
    "continuous": continuous,
    "llama_cpp": llama_cpp,
    "static": static,
    "products": products,
}
USUAL = ("viva", "continuous", "static", "products")


def peers(folder: Path, given: argparse.Namespace) -> None:
    requests = asked(given.requests)
    found = rounds.play(
        {name: partial(PEERS[name], folder, requests, given.on) for name in given.peers}, given.turns, 0
    )
    made, first = sum(count for _, count in requests), found.get("viva")
    print(f"{len(requests)} requests, {sum(len(p) for p, _ in requests):,} tokens of prompts, {made:,} of replies")
    for name, result in found.items():
        same = "" if result.facts is None or not first else f"  first tokens equal: {result.facts == first.facts}"
        ratio = f"  viva is {result.median / first.median:.2f}x" if first else ""
        print(
            f"{name:12} {made / result.median:7.1f} tokens/s  {result.median:6.1f} s  {result.memory:6.0f} MiB", end=""
        )
        print(ratio + same)


def profile(folder: Path, given: argparse.Namespace) -> None:
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as watch

    engine, requests = core(folder, given.on), asked(given.requests)
    replies(engine, requests[:2])
    there = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if given.on == GPU else [])]
    with watch(activities=there) as seen:
        replies(engine, requests)
    order = f"self_{given.device}_time_total"
    print(seen.key_averages().table(sort_by=order, row_limit=20, max_name_column_width=48))


def reading(weights: list[torch.Tensor]) -> float:
    """Seconds that it takes to read them once; on a GPU, where a sum of each would wait to be told, at its rate."""
    from viva.base import machine

    if weights[0].device.type == "cuda":
        return sum(weight.nbytes for weight in weights) / machine.read_rate("cuda") / 1e9
    start = time.perf_counter()
    for _ in range(8):
        for weight in weights:
            weight.sum()
    return (time.perf_counter() - start) / 8


def alone(folder: Path, given: argparse.Namespace) -> None:
    """Tokens a second of one request, and the share of what reading the weights would allow."""
    engine, count = core(folder, given.on), 64
    model = engine.models[""]
    weights = [weight for weight in model.parameters() if weight.ndim == 2]
    rates = []
    for _ in range(given.turns):
        bound = reading(weights)
        replies(engine, [([1, 2, 3, 4], 1)])
        start = time.perf_counter()
        replies(engine, [([1, 2, 3, 4], count)])
        rates.append((count / (time.perf_counter() - start), 1 / bound))
    mine, bound = (statistics.median(rate) for rate in zip(*rates, strict=True))
    print(f"one request: {mine:.1f} tokens/s, {mine / bound:.2f} of the {bound:.1f} that reading the weights allows")


def shared(folder: Path, given: argparse.Namespace) -> None:
    """Seconds to the first token of a prompt of 512 tokens, of which a share was read before."""
    engine, source = core(folder, given.on), random.Random(1)
    begin = [source.randrange(VOCAB) for _ in range(512)]
    replies(engine, [(begin, 1)])
    for share in (0.0, 0.25, 0.5, 0.75):
        times = []
        for _ in range(given.turns):
            known = int(512 * share)
            prompt = begin[:known] + [source.randrange(VOCAB) for _ in range(512 - known)]
            start = time.perf_counter()
            replies(engine, [(prompt, 1)])
            times.append(time.perf_counter() - start)
        if not share:
            whole = statistics.median(times)
        took = statistics.median(times)
        print(f"{share:.0%} shared: first token after {took:.3f} s, {took / whole:.2f} of it unshared")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("peers", "profile", "alone", "shared"))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=USUAL)
    parser.add_argument("--device", choices=DTYPES, default="cpu")
    parser.add_argument("--layers", type=int, default=12)
    given = parser.parse_args()
    given.on = GPU if given.device == "cuda" else On()
    with tempfile.TemporaryDirectory() as folder:
        saved(Path(folder) / "model", given.layers)
        globals()[given.what](Path(folder) / "model", given)


if __name__ == "__main__":
    main()
