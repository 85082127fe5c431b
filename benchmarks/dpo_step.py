"""A step of DPO: viva beside trl and beside the bare loop, with all logits and with those of completions only.

    python benchmarks/dpo_step.py [--turns 5]

A LLaMA of 4 layers of 256, a vocabulary of 8,192, 8 pairs of up to 256 tokens a side, half of them the prompt; fp32,
AdamW; a frozen reference that is asked at every step. Same weights, same pairs, in turns, medians; the first losses are
printed. The bare loop is written here on transformers: two models, log_softmax, backward, step. Needs trl (in `dev`).
"""

import argparse
import os
import random
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch

import rounds
import steps

LAYERS, WIDTH, HEADS, HIDDEN, VOCAB, T, PAIRS = 4, 256, 4, 688, 8192, 256, 8
LR, BETA = 1e-5, 0.1


def saved(folder: Path) -> None:
    """Policy and reference begin as one model, as a folder that everyone reads."""
    from viva.model import folder as checkpoint
    from viva.model.arch import llama
    from viva.model.init import initialise
    from viva.model.transformer import Transformer

    config = llama.Config(vocab=VOCAB, width=WIDTH, layers=LAYERS, heads=HEADS, hidden=HIDDEN, context=T, tied=False)
    checkpoint.save(folder, config, initialise(Transformer(config.spec())))


def pairs() -> list[tuple[list[int], list[int], list[int]]]:
    """Prompt, chosen and rejected answer: one side of each pair has T tokens, the other some fewer."""
    draw = random.Random(0)
    ids = lambda count: [draw.randrange(1, VOCAB) for _ in range(count)]  # noqa: E731
    found = []
    for _ in range(PAIRS):
        lengths = [T // 2, draw.randint(T // 4, T // 2)]
        draw.shuffle(lengths)
        found.append((ids(T // 2), *map(ids, lengths)))
    return found


def viva(folder: Path):
    from viva.model import folder as checkpoint

    model, frozen = (checkpoint.load(folder).model for _ in range(2))
    return steps.ours(model, against(frozen), laid(pairs()), LR)


def against(frozen):
    """viva's loss, beside a reference."""
    from types import SimpleNamespace

    from viva.align.preference import sigmoid
    from viva.train.objective._reference import Reference
    from viva.train.objective.dpo import Preference

    reference = Reference(SimpleNamespace(model=frozen.requires_grad_(False).eval()))
    return Preference(sigmoid.Config(beta=BETA), reference)


def laid(found: list[tuple[list[int], list[int], list[int]]]):
    """viva's batch of pairs: both sides of each, one after the other, in one row."""
    from viva.train.batch import Batch
    from viva.train.loss import IGNORE

    sides = [(prompt, answer) for prompt, *answers in found for answer in answers]
    ids = [torch.tensor(prompt + answer[:-1]) for prompt, answer in sides]
    targets = [torch.tensor([IGNORE] * (len(prompt) - 1) + answer) for prompt, answer in sides]
    return Batch(torch.cat(ids)[None], torch.cat(targets)[None], (tuple(map(len, ids)),), answers=len(found))


def padded(found: list[tuple[list[int], list[int], list[int]]]) -> dict[str, torch.Tensor]:
    """ids, attention mask and which tokens are an answer's, padded on the right; the chosen answers come first."""
    sides = [(prompt, answers[side]) for side in range(2) for prompt, *answers in found]
    rows = {
        "input_ids": [prompt + answer for prompt, answer in sides],
        "attention_mask": [[1] * len(prompt + answer) for prompt, answer in sides],
        "completion_mask": [[0] * len(prompt) + [1] * len(answer) for prompt, answer in sides],
    }
    lay = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
    return {name: lay([torch.tensor(row) for row in made]) for name, made in rows.items()}


def twins(folder: Path):
    from transformers import AutoModelForCausalLM

    read = partial(AutoModelForCausalLM.from_pretrained, folder, attn_implementation="sdpa", dtype=torch.float32)
    return read().train(), read().eval().requires_grad_(False)


def trl(folder: Path):
    """trl's own loss and backward pass, without its data loader and its logging to files."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true"}
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from trl import DPOConfig, DPOTrainer

    policy, reference = twins(folder)
    words = Tokenizer(models.WordLevel({"<pad>": 0, "a": 1}, unk_token="a"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="a")
    rows = Dataset.from_list([{"prompt": "a", "chosen": "a", "rejected": "a"}])
    place = tempfile.mkdtemp()
    args = DPOConfig(
        output_dir=place, beta=BETA, use_cpu=True, report_to="none", gradient_checkpointing=False, bf16=False,
        per_device_train_batch_size=PAIRS, learning_rate=LR,
    )  # fmt: skip
    trainer = DPOTrainer(policy, reference, args, train_dataset=rows, processing_class=tokenizer)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=LR, weight_decay=0.0, fused=True)
    given = padded(pairs())

    def turn() -> float:
        loss = trainer.compute_loss(policy, given)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return turn, turn()


def bare(folder: Path, completions: bool):
    return looped(*twins(folder), padded(pairs()), completions)


def looped(policy, reference, given: dict[str, torch.Tensor], completions: bool, autocast: Callable = nullcontext):
    """The shortest loop that does it, on transformers, forward in the context `autocast`."""
    optimizer = torch.optim.AdamW(policy.parameters(), lr=LR, weight_decay=0.0, fused=True)
    ids, mask = given["input_ids"], given["attention_mask"]
    learned, aims = given["completion_mask"][:, 1:].bool(), ids[:, 1:]
    row = torch.arange(len(ids), device=ids.device)[:, None].expand_as(aims)[learned]

    def sums(model) -> torch.Tensor:
        states = model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state[:, :-1]
        if completions:
            logs = model.lm_head(states[learned]).float().log_softmax(-1).gather(1, aims[learned][:, None])[:, 0]
            return logs.new_zeros(len(ids)).index_add(0, row, logs)
        logs = model.lm_head(states).float().log_softmax(-1).gather(2, aims[..., None])[..., 0]
        return (logs * learned).sum(1)

    def turn() -> float:
        with autocast():
            with torch.no_grad():
                expected = sums(reference)
            chosen, rejected = (sums(policy) - expected).chunk(2)
            loss = -torch.nn.functional.logsigmoid(BETA * (chosen - rejected)).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return turn, turn()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--turns", type=int, default=5)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        saved(folder)
        contestants = {
            "viva": partial(viva, folder),
            "trl": partial(trl, folder),
            "bare, all logits": partial(bare, folder, completions=False),
            "bare, of completions": partial(bare, folder, completions=True),
        }
        results = rounds.play(contestants, chosen.turns)
    tokens = sum(len(prompt) * 2 + len(one) + len(other) for prompt, one, other in pairs())
    print(f"{PAIRS} pairs, {tokens} tokens, fp32, {torch.get_num_threads()} threads, {chosen.turns} turns each")
    print(f"{'':24}{'pairs/s':>9}{'s a step':>10}{'MiB':>7}{'viva is':>9}  first loss")
    for name, result in results.items():
        rate, ratio = PAIRS / result.median, result.median / results["viva"].median
        print(f"{name:24}{rate:9.2f}{result.median:10.3f}{result.memory:7.0f}{ratio:8.2f}x  {result.facts:.6f}")


if __name__ == "__main__":
    main()
