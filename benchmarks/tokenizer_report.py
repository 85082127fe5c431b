"""Six tokenizers on the declaration of human rights in every language that has it.

    python benchmarks/tokenizer_report.py --data DIR --out DIR [--turns N]

DATA holds gutenberg, udhr, tang_poetry, wagahai_ja, tok_gpt2, tok_qwen, tok_llama3 and tok_bert. Two byte-level BPE
tokenizers of 8192 ids are trained: `english` on the novels of gutenberg; `multilingual` on every declaration, which
the report then reads too, the Tang poems and the Japanese novel. All six are saved in OUT/tokenizers, and what
`viva tokenizer report` prints of them is saved in OUT.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import viva
from viva.cli import main
from viva.text.corpus import files
from viva.text.learn import byte_bpe

# Twenty of the languages with the most speakers, as the file names them
LARGE = "eng cmn_hans hin spa arb fra ben por_BR rus urd ind deu jpn mar vie tam tur kor tha swh"
IDS = 8192


def english(data: Path) -> Iterator[str]:
    return (row.data["text"] for row in files.Config(path=str(data / "gutenberg")).rows())


def multilingual(data: Path) -> Iterator[str]:
    for row in files.Config(path=str(data / "tang_poetry")).rows():
        yield "\n".join(row.data["lines"])
    for folder in ("udhr", "wagahai_ja"):
        yield from (row.data["text"] for row in files.Config(path=str(data / folder)).rows())


def run() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--turns", default="5")
    given = options.parse_args()
    data = given.data
    six = {
        "english": byte_bpe.train(english(data), byte_bpe.Config(vocab_size=IDS)),
        "multilingual": byte_bpe.train(multilingual(data), byte_bpe.Config(vocab_size=IDS)),
        "gpt2": viva.load_tokenizer(data / "tok_gpt2", pattern="gpt2"),
        "qwen": viva.load_tokenizer(data / "tok_qwen" / "qwen.tiktoken"),
        "llama3": viva.load_tokenizer(data / "tok_llama3", pattern="llama3"),
        "bert": viva.load_tokenizer(data / "tok_bert" / "bert_base_uncased_vocab.txt", do_lower_case=True),
    }
    places = [given.out / "tokenizers" / name for name in six]
    for place, tokenizer in zip(places, six.values(), strict=True):
        tokenizer.save(place)
    words = ["tokenizer", "report", *map(str, places), "--data", str(data / "udhr"), "--out", str(given.out)]
    return main([*words, "--turns", given.turns, "--show", *LARGE.split()])


if __name__ == "__main__":
    raise SystemExit(run())
