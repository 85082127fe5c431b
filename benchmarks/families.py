"""A training step of BERT, T5 and GPT-2 shapes, and an encoder's reading, viva beside transformers.

    python benchmarks/families.py bert|t5|gpt2 [--turns 7]
    python benchmarks/families.py reading --texts DIR/ag_news/test.csv.gz --vocab DIR/tok_bert/VOCAB.txt

Same weights (the first losses are printed), fp32, AdamW, no dropout, in turns, medians. Rows are full, so that nothing
is gained by packing; in BERT's step 15 % of the tokens are to be guessed. `reading` gives the vectors of real texts, 32
at a time, in the order of the file: viva lays them end to end, transformers pads them to the longest.
"""

import argparse
import csv
import gzip
import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import rounds
import steps

VOCAB, T, B, AT_ONCE = 8192, 256, 16, 32
LR, SHARE = 1e-5, 0.15
SIZES = {"vocab": VOCAB, "width": 512, "layers": 6, "heads": 8, "hidden": 2048, "context": 512}
READER = {"vocab": 30522, "width": 384, "layers": 6, "heads": 12, "hidden": 1536, "context": 512}  # MiniLM's


def saved(name: str, sizes: dict, folder: Path) -> None:
    """The common starting point, as a folder that both read."""
    from viva.base.choice import variant
    from viva.model import folder as checkpoint
    from viva.model.init import initialise

    config = variant("viva.model.arch", name).Config(**sizes, dropout=0.0)
    checkpoint.save(folder, config, initialise(config.spec().build()))


def text(seed: int) -> Tensor:
    return torch.randint(5, VOCAB, (B, T), generator=torch.Generator().manual_seed(seed))


def guessed() -> Tensor:
    """The targets of BERT's step: the tokens themselves, -100 where they are not to be guessed."""
    chosen = torch.rand(B, T, generator=torch.Generator().manual_seed(2)) < SHARE
    return torch.where(chosen, text(0), -100)


def viva(name: str, folder: Path):
    from viva.model import folder as checkpoint
    from viva.train.batch import Batch, Source
    from viva.train.objective import causal, masked, seq2seq

    ids, rows = text(0), ((T,),) * B
    following = torch.cat((ids[:, 1:], torch.full((B, 1), -100)), 1)
    objective, batch = {
        "bert": (masked.Config(), Batch(ids, guessed(), rows)),
        "gpt2": (causal.Config(), Batch(ids, following, rows)),
        "t5": (seq2seq.Config(), Batch(ids, following, rows, Source(text(1), rows))),
    }[name]
    return steps.ours(checkpoint.load(folder).model, objective.build(), batch, LR)


def transformers(name: str, folder: Path):
    import transformers as library

    heads = {"bert": "BertForMaskedLM", "gpt2": "GPT2LMHeadModel", "t5": "T5ForConditionalGeneration"}
    how = {"attn_implementation": "sdpa", "dtype": torch.float32}
    model = getattr(library, heads[name]).from_pretrained(folder, **how).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.0, fused=True)
    ids, source = text(0), text(1)

    def loss() -> Tensor:
        if name == "bert":
            return cross_entropy(model(input_ids=ids).logits.flatten(0, 1), guessed().flatten())
        read = {"input_ids": source, "decoder_input_ids": ids} if name == "t5" else {"input_ids": ids}
        logits = model(**read, use_cache=False).logits
        return cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())

    def turn() -> float:
        found = loss()
        found.backward()
        optimizer.step()
        optimizer.zero_grad()
        return found.item()

    return turn, turn()


def real_texts(texts: Path, vocab: Path) -> list[list[int]]:
    """The ids of the file's rows, all columns but the first together, framed as BERT frames them."""
    from tokenizers.implementations import BertWordPieceTokenizer

    tokenizer = BertWordPieceTokenizer({word: i for i, word in enumerate(vocab.read_text("utf-8").splitlines())})
    with gzip.open(texts, "rt", encoding="utf-8", newline="") as file:
        rows = [" ".join(row[1:]) for row in csv.reader(file)]
    return [encoding.ids[:512] for encoding in tokenizer.encode_batch(rows[: AT_ONCE * 16])]


def reads_packed(folder: Path, texts: list[list[int]]):
    from viva.model import folder as checkpoint
    from viva.model.layout import Layout
    from viva.model.pool import pooled

    model = checkpoint.load(folder).model

    @torch.inference_mode()
    def turn() -> float:
        found = []
        for at in range(0, len(texts), AT_ONCE):
            some = texts[at : at + AT_ONCE]
            ids = torch.tensor([[token for ids in some for token in ids]])
            layout = Layout.packed((tuple(map(len, some)),), ids.shape[1])
            found.append(pooled(model.hidden(ids, layout), layout, "mean"))
        return float(torch.cat(found).square().mean())

    return turn, turn()


def reads_padded(folder: Path, texts: list[list[int]], by_length: bool = False):
    from transformers import BertModel

    model = BertModel.from_pretrained(folder, attn_implementation="sdpa", add_pooling_layer=False).eval()
    texts = sorted(texts, key=len) if by_length else texts

    @torch.inference_mode()
    def turn() -> float:
        found = []
        for at in range(0, len(texts), AT_ONCE):
            some = [torch.tensor(ids) for ids in texts[at : at + AT_ONCE]]
            ids = torch.nn.utils.rnn.pad_sequence(some, batch_first=True)
            mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in some], batch_first=True)
            states = model(input_ids=ids, attention_mask=mask).last_hidden_state
            found.append((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))
        return float(torch.cat(found).square().mean())

    return turn, turn()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=("bert", "t5", "gpt2", "reading"))
    options.add_argument("--turns", type=int, default=7)
    options.add_argument("--texts", type=Path)
    options.add_argument("--vocab", type=Path)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        if chosen.what == "reading":
            saved("bert", READER, folder)
            texts = real_texts(chosen.texts, chosen.vocab)
            contestants = {
                "viva, end to end": partial(reads_packed, folder, texts),
                "transformers, padded": partial(reads_padded, folder, texts),
                "the same, sorted by length": partial(reads_padded, folder, texts, by_length=True),
            }
            tokens = sum(map(len, texts))
            longest = max(map(len, texts))
            print(f"{len(texts)} texts, {tokens} tokens, {tokens / len(texts):.0f} on average, {longest} at most")
        else:
            saved(chosen.what, SIZES, folder)
            makers = {"viva": viva, "transformers": transformers}
            contestants = {name: partial(make, chosen.what, folder) for name, make in makers.items()}
            tokens = B * T * (2 if chosen.what == "t5" else 1)
            print(
                f"{chosen.what}: {tokens} tokens a step, fp32, {torch.get_num_threads()} threads, {chosen.turns} turns"
            )
        results = rounds.play(contestants, chosen.turns)
    first = next(iter(results))
    for name, result in results.items():
        ratio = result.median / results[first].median
        print(
            f"{name:28}{tokens / result.median:10.0f} tokens/s{result.memory:8.0f} MiB   viva is {ratio:5.2f}x   "
            f"first {result.facts:.6f}"
        )


if __name__ == "__main__":
    main()
