"""Learning a byte-level vocabulary of 8,192 from Python source: viva beside tokenizers, sentencepiece and rustbpe.

    python benchmarks/learn_tokenizer.py [--megabytes 30] [--turns 3]

The text is Python's own standard library and what is installed beside it, read again from the start where that is less
than was asked for; it is in memory before the clock starts. Each learns in a process of its own, in turns; the median
counts. sentencepiece learns byte-pair encoding of characters, from lines, since it has none of bytes. "bytes a token":
of text that comes after what was learned from. "merges": whether they are those of tokenizers alone.
"""

import argparse
import hashlib
import io
import json
import sysconfig
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, count
from pathlib import Path

import rounds

SIZE, HELD_OUT = 8192, 1_000_000


def sources() -> Iterator[str]:
    """The texts of all Python files, in the order of their paths."""
    for place in (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")):
        for file in sorted(Path(place).rglob("*.py")):
            try:
                yield file.read_text(encoding="utf-8")
            except UnicodeDecodeError:  # a few are of another encoding
                continue


def texts(size: int) -> tuple[list[str], str]:
    """Texts of `size` bytes together, and what follows on them."""
    taken, held_out, read = [], [], 0
    endless = chain.from_iterable(sources() for _ in count())
    while read < size + HELD_OUT:
        text = next(endless)
        (taken if read < size else held_out).append(text)
        read += len(text.encode())
    return taken, "".join(held_out)


def pattern() -> str:
    from viva.text.tokens.learn._words import DIGITS, gpt4

    return gpt4(DIGITS["single"])


def viva(size: int):
    from viva.text.tokens.learn import byte_bpe

    given, after = texts(size)
    config, made = byte_bpe.Config(vocab_size=SIZE), []
    return lambda: made.append(config.learn(given)), lambda: (
        _bytes_a_token(after, made[-1].encode(after)),
        _merges(made[-1].core),
    )


def tokenizers(size: int):
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    given, after = texts(size)
    core = Tokenizer(models.BPE())
    cut = pre_tokenizers.Split(Regex(pattern()), "isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(False, use_regex=False)])
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE - 4,
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    return lambda: core.train_from_iterator(given, trainer), lambda: (
        _bytes_a_token(after, core.encode(after).ids),
        _merges(core),
    )


def rustbpe(size: int):
    import rustbpe as library

    given, after = texts(size)
    made = library.Tokenizer()
    learn = partial(made.train_from_iterator, vocab_size=SIZE - 4, pattern=pattern())
    return lambda: learn(iter(given)), lambda: (_bytes_a_token(after, made.encode(after)), None)


def sentencepiece(size: int):
    import sentencepiece as library

    given, after = texts(size)
    lines = [line for text in given for line in text.splitlines() if line]
    made = []

    def learn() -> None:
        model = io.BytesIO()
        library.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            vocab_size=SIZE,
            model_type="bpe",
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            minloglevel=2,
        )
        made.append(library.SentencePieceProcessor(model_proto=model.getvalue()))

    return learn, lambda: (
        _bytes_a_token(after, [number for line in after.splitlines(True) for number in made[-1].encode(line)]),
        None,
    )


def _bytes_a_token(text: str, ids: list[int]) -> float:
    return len(text.encode()) / len(ids)


def _merges(core) -> str:
    """A hash of the merges that a tokenizer of the library `tokenizers` holds."""
    merges = json.loads(core.to_str())["model"]["merges"]
    return hashlib.sha256(json.dumps(merges).encode()).hexdigest()


def prepared(make: Callable, size: int):
    """A contestant as `rounds` takes it: it learns once before the clock starts, to say what it learned."""
    turn, facts = make(size)
    turn()
    return turn, facts()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=30)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    size = int(given.megabytes * 1e6)
    contestants = {make.__name__: partial(prepared, make, size) for make in (viva, tokenizers, rustbpe, sentencepiece)}
    results = rounds.play(contestants, given.turns, warmup=0)
    alone = results["tokenizers"].facts[1]
    print(f"{sum(len(text.encode()) for text in texts(size)[0]) / 1e6:.1f} MB of Python source, {SIZE} tokens\n")
    print("| | MB/s | memory, MiB | bytes a token | merges |\n|---|---:|---:|---:|---|")
    for name, result in results.items():
        found, merges = result.facts
        same = "" if merges is None else "those of tokenizers" if merges == alone else "others"
        print(f"| {name} | {size / 1e6 / result.median:.2f} | {result.memory:.0f} | {found:.3f} | {same} |")


if __name__ == "__main__":
    main()
