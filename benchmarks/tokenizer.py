"""Tokenising: viva beside tokenizers, tiktoken and rustbpe, and a token cache of a size of your choice.

    python benchmarks/tokenizer.py encode|others|cache [--megabytes 10] [--turns 5]

`encode`: byte-level BPE on the Python installation's own source, with the same merges, which rustbpe learns from it;
every contestant in a process of its own, in turns, medians. `others`: WordPiece and Unigram beside the library that
encodes them. `cache`: a generated jsonl file is made into a token cache at once, and once more with a kill in the
middle; the bytes are compared, and memory is the largest that the process had.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import rounds

VOCABULARY = 8192


def sources(megabytes: float) -> list[str]:
    """Files of the standard library, and then of what is installed beside it, until there is enough."""
    import sysconfig

    texts, size = [], 0
    for name in ("stdlib", "purelib"):
        for file in sorted(Path(sysconfig.get_path(name)).rglob("*.py")):
            text = file.read_text(encoding="utf-8", errors="ignore")
            texts.append(text)
            size += len(text.encode())
            if size >= megabytes * 1e6:
                return texts
    return texts


def read(place: Path) -> list[str]:
    return json.loads((place / "texts.json").read_text())


def summary(ids: list[list[int]]) -> str:
    """Of ids that should be equal."""
    counted = hashlib.sha256(repr([list(some) for some in ids]).encode()).hexdigest()[:8]
    return f"{sum(map(len, ids)):,} tokens, {counted}"


# ---- byte-level BPE


def learned(texts: list[str]):
    """rustbpe's tokenizer of these texts, with viva's pattern."""
    import rustbpe

    from viva.text.tokens.learn._words import DIGITS, gpt4

    made = rustbpe.Tokenizer()
    pattern = gpt4(DIGITS["single"])
    made.train_from_iterator(iter(texts), VOCABULARY, pattern=pattern)
    return made, pattern


def save_bpe(place: Path) -> None:
    """The merges of rustbpe as a tokenizer.json: of each token the two parts that the merges before it leave."""
    from tokenizers import Regex, Tokenizer, decoders, models
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    from viva.text.tokens.byte_level import BYTE_OF

    made, pattern = learned(read(place))
    ranks = {bytes(token): rank for token, rank in made.get_mergeable_ranks()}
    signs = {byte: sign for sign, byte in BYTE_OF.items()}
    spell = lambda token: "".join(signs[byte] for byte in token)  # noqa: E731
    merges = [tuple(map(spell, parts(token, rank, ranks))) for token, rank in ranks.items() if len(token) > 1]
    core = Tokenizer(models.BPE({spell(token): rank for token, rank in ranks.items()}, merges))
    core.pre_tokenizer = Sequence(
        [Split(Regex(pattern), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    core.decoder = decoders.ByteLevel()
    core.save(str(place / "tokenizer.json"))


def parts(token: bytes, rank: int, ranks: dict[bytes, int]) -> list[bytes]:
    symbols = [token[at : at + 1] for at in range(len(token))]
    while len(symbols) > 2:
        pairs = [ranks.get(a + b, rank) for a, b in pairwise(symbols)]
        at = pairs.index(min(pairs))
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
    return symbols


def viva(place: Path):
    from viva.text.tokens.tokenizer import Tokenizer

    texts, tokenizer = read(place), Tokenizer.load(place)
    return partial(tokenizer.encode_batch, texts), summary(tokenizer.encode_batch(texts))


def viva_one_by_one(place: Path):
    from viva.text.tokens.tokenizer import Tokenizer

    texts, tokenizer = read(place), Tokenizer.load(place)
    tokenizer.encode_batch(texts)
    return lambda: [tokenizer.encode(text) for text in texts], summary([tokenizer.encode(text) for text in texts])


def bare(place: Path):
    from tokenizers import Tokenizer

    texts, core = read(place), Tokenizer.from_file(str(place / "tokenizer.json"))
    turn = lambda: [found.ids for found in core.encode_batch(texts, add_special_tokens=False)]  # noqa: E731
    return turn, summary(turn())


def bare_one_by_one(place: Path):
    from tokenizers import Tokenizer

    texts, core = read(place), Tokenizer.from_file(str(place / "tokenizer.json"))
    turn = lambda: [core.encode(text, add_special_tokens=False).ids for text in texts]  # noqa: E731
    return turn, summary(turn())


def _tiktoken(place: Path):
    import tiktoken

    made, pattern = learned(read(place))
    ranks = {bytes(token): rank for token, rank in made.get_mergeable_ranks()}
    return read(place), tiktoken.Encoding("bench", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def tiktoken(place: Path):
    texts, core = _tiktoken(place)
    turn = partial(core.encode_ordinary_batch, texts, num_threads=os.cpu_count())
    return turn, summary(turn())


def tiktoken_one_by_one(place: Path):
    texts, core = _tiktoken(place)
    turn = lambda: [core.encode_ordinary(text) for text in texts]  # noqa: E731
    return turn, summary(turn())


def rustbpe(place: Path):
    texts = read(place)
    made, _ = learned(texts)
    return partial(made.batch_encode, texts), summary(made.batch_encode(texts))


BPE = {
    "viva": viva,
    "tokenizers": bare,
    "tiktoken": tiktoken,
    "rustbpe": rustbpe,
    "viva, one by one": viva_one_by_one,
    "tokenizers, one by one": bare_one_by_one,
    "tiktoken, one by one": tiktoken_one_by_one,
}


# ---- WordPiece and Unigram


def save_other(place: Path, kind: str) -> None:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    some = read(place)[::8]
    if kind == "WordPiece":
        core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        core.normalizer, core.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        core.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=4096, special_tokens=["[UNK]"], show_progress=False)
    else:
        core = Tokenizer(models.Unigram())
        core.pre_tokenizer, core.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        special = {"unk_token": "<unk>", "special_tokens": ["<unk>"]}
        trainer = trainers.UnigramTrainer(vocab_size=4096, show_progress=False, **special)
    core.train_from_iterator(some, trainer)
    core.save(str(place / "tokenizer.json"))


OTHERS = {
    "viva": viva,
    "tokenizers": bare,
    "viva, one by one": viva_one_by_one,
    "tokenizers, one by one": bare_one_by_one,
}


def compare(place: Path, contestants: dict, turns: int) -> None:
    """Megabytes a second of each, and how many times as fast viva is, with its own way of the same kind."""
    size = sum(len(text.encode()) for text in read(place)) / 1e6
    results = rounds.play({name: partial(make, place) for name, make in contestants.items()}, turns, warmup=1)
    print(f"{size:.1f} MB, {os.cpu_count()} cores, {turns} turns")
    for name, result in results.items():
        way = "viva, one by one" if name.endswith("one by one") else "viva"
        ratio = result.median / results[way].median
        print(f"{name:24}{size / result.median:7.2f} MB/s   viva is {ratio:5.2f}x   {result.facts}")


# ---- the token cache

BUILD = """
import json, resource, sys, time
from viva.text.rows.corpus import files
from viva.text.cache.documents import build
from viva.text.rows.format import text
from viva.text.tokens.tokenizer import Tokenizer
start = time.perf_counter()
docs = build(files.Config(path=sys.argv[1]), text.Config(), Tokenizer.load(sys.argv[2]), sys.argv[3])
seconds, memory = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([str(docs.folder), len(docs), docs.counts.tokens, seconds, memory]))
"""


def generate(file: Path, megabytes: float) -> float:
    """Documents of shuffled lines of Python source, 2000 characters each in the mean."""
    lines = [line for text in sources(10) for line in text.splitlines(keepends=True) if line.strip()]
    draw, size = random.Random(0), 0
    with open(file, "w", encoding="utf-8") as out:
        while size < megabytes * 1e6:
            size += out.write(json.dumps({"text": "".join(draw.choices(lines, k=draw.randrange(1, 100)))}) + "\n")
    return file.stat().st_size / 1e6


def started(place: Path, out: str) -> subprocess.Popen:
    command = [sys.executable, "-c", BUILD, place / "data.jsonl", place / "tokenizer", place / out]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen) -> tuple[Path, int, int, float, float]:
    folder, *rest = json.loads(process.communicate()[0])
    return Path(folder), *rest


def cache(place: Path, megabytes: float) -> None:
    from viva.text.tokens.learn import byte_bpe

    byte_bpe.train(sources(2), byte_bpe.Config(vocab_size=VOCABULARY)).save(place / "tokenizer")
    size = generate(place / "data.jsonl", megabytes)
    at_once, documents, tokens, seconds, memory = finished(started(place, "at-once"))
    print(f"{size:.0f} MB, {documents:,} documents, {tokens:,} tokens, {os.cpu_count()} cores")
    print(f"at once: {seconds:.1f} s, {size / seconds:.2f} MB/s, at most {memory:.0f} MiB of memory")
    process = started(place, "killed")
    time.sleep(seconds / 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    [begun] = (place / "killed").iterdir()
    done = json.loads((begun / "state.json").read_text())["rows"] / documents if (begun / "state.json").exists() else 0
    resumed, _, _, rest, memory = finished(started(place, "killed"))
    same = all((resumed / file.name).read_bytes() == file.read_bytes() for file in at_once.iterdir())
    print(f"killed after {seconds / 2:.1f} s: {done:.0%} of the rows were kept")
    print(f"resumed: {rest:.1f} s, at most {memory:.0f} MiB, {'the same bytes' if same else 'OTHER BYTES'}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=("encode", "others", "cache"))
    options.add_argument("--megabytes", type=float, default=10)
    options.add_argument("--turns", type=int, default=5)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if chosen.what == "cache":
            cache(place, chosen.megabytes)
            return
        (place / "texts.json").write_text(json.dumps(sources(chosen.megabytes)))
        if chosen.what == "encode":
            save_bpe(place)
            compare(place, BPE, chosen.turns)
            return
        for kind in ("WordPiece", "Unigram"):
            print(kind)
            save_other(place, kind)
            compare(place, OTHERS, chosen.turns)


if __name__ == "__main__":
    main()
