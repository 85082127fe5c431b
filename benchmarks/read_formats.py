"""Rows of real data sets, read without being told their format.

    python benchmarks/read_formats.py --data FOLDER [--tokenizer FOLDER]

For every file below FOLDER that holds rows: the format told by its fields, rows, tokens, the share of them in the loss,
and how many rows are refused, with the first sentence. Without a tokenizer a byte-level one is learned on the way. Rows
that have tools are laid out by the template qwen3, which writes them, their calls and what is thought; all others by
the tokenizer's own.
"""

import argparse
import warnings
from itertools import islice
from pathlib import Path

from viva.base.choice import kind
from viva.base.errors import Notice, Refusal
from viva.text.rows.corpus import files
from viva.text.rows.format import auto
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.tokenizer import Tokenizer

SETS = ["llama_factory_demo", "hh_rlhf", "dpo_zh", "sharegpt_zh", "alpaca_en", "alpaca_zh", "alpaca_eval_pairs"]
WITH_TOOLS = "qwen3"  # a template that has a form for them
TEXTS = ("Question: what is it? Answer: it is what it is.", "今天天气很好，我们去公园散步。")  # nearly bytes alone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer")
    given = parser.parse_args()
    warnings.simplefilter("ignore", Notice)
    learn = lambda: byte_bpe.train(TEXTS, byte_bpe.Config(vocab_size=300))  # noqa: E731
    tokenizer = Tokenizer.load(given.tokenizer) if given.tokenizer else learn()
    tools = tokenizer.with_template(WITH_TOOLS)
    print("| file | format | rows | tokens | in the loss | refused |\n|---|---|---:|---:|---:|---:|")
    sentences = []
    for name in SETS:
        for file in sorted((given.data / name).glob("*")):
            corpus = files.Config(path=str(file))
            has_tools = any("tools" in row.data for row in islice(corpus.rows(), auto.FIRST))
            line, refused = report(corpus, tools if has_tools else tokenizer)
            print(f"| {name}/{file.name}{' (tools)' if has_tools else ''} | {line} |", flush=True)
            sentences += refused[:1]
    print(*(f"\n{sentence}" for sentence in sentences))


def report(corpus: files.Config, tokenizer: Tokenizer) -> tuple[str, list[str]]:
    """A line of the table, and the sentence for each row that is refused."""
    try:
        form = auto.Config().settled(corpus)
    except Refusal as refusal:
        return "none | | | | all", [str(refusal)]
    rows = tokens = learned = 0
    refused = []
    for row in corpus.rows():
        rows += 1
        try:
            example = form.example(row, tokenizer)
        except Refusal as refusal:
            refused.append(str(refusal))
        else:
            tokens, learned = tokens + len(example.ids), learned + sum(example.mask)
    return f"{kind(form)} | {rows:,} | {tokens:,} | {learned / tokens:.1%} | {len(refused)}", refused


if __name__ == "__main__":
    main()
