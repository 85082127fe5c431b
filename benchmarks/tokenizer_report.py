"""Six tokenizers on the declaration of human rights in every language that has it.

    python benchmarks/tokenizer_report.py --data DIR --out DIR [--turns N]

DATA holds gutenberg, udhr, tang_poetry, wagahai_ja, tok_gpt2, tok_qwen, tok_llama3 and tok_bert. Two byte-level BPE
tokenizers of 8192 ids are trained: `english` on the novels of gutenberg; `multilingual` on every declaration, which
the report then reads too, the Tang poems and the Japanese novel. All six are saved in OUT/tokenizers, and what
`viva tokenizer report` prints of them is saved in OUT. Last, transformers opens the six folders and counts once more.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import transformers

import viva
from viva.cli import main
from viva.text.rows.corpus import files
from viva.text.tokens.learn import byte_bpe

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


def recounted(folder: Path, texts: list[str], ordinary: int) -> dict[str, float | None]:
    """Figures of all texts, as transformers' reading of the folder gives them."""
    twin = transformers.AutoTokenizer.from_pretrained(folder)
    ids = Counter(number for text in texts for number in twin(text, add_special_tokens=False)["input_ids"])
    broken = sum(count for number, count in ids.items() if "\ufffd" in twin.decode([number]))
    return {
        "tokens": ids.total(),
        "unknown": None if twin.unk_token is None else ids[twin.unk_token_id] / ids.total(),
        "fragments": broken / ids.total() if twin.unk_token is None else None,
        "unused": 1 - len(ids.keys() - set(twin.all_special_ids)) / ordinary,
    }


def compare(out: Path, data: Path) -> int:
    """Print, for each of the six, whether both count alike; 1 if any does not."""
    reported = json.loads((out / "report.json").read_text(encoding="utf-8"))["tokenizers"]
    texts = [row.data["text"] for row in files.Config(path=str(data / "udhr")).rows()]
    failed = 0
    for name, report in reported.items():
        twin = recounted(out / "tokenizers" / name, texts, report["ordinary_ids"])
        differ = {figure: value for figure, value in twin.items() if report["all"][figure] != value}
        print(f"{name}: transformers counts {f'otherwise: {differ}' if differ else f'the same: {twin}'}")
        failed |= bool(differ)
    return failed


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
    return main([*words, "--turns", given.turns, "--show", *LARGE.split()]) or compare(given.out, data)


if __name__ == "__main__":
    raise SystemExit(run())
