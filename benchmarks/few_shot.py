"""Classes told by a few examples: what each way reaches with 8, 16 and 64 examples a class.

    python benchmarks/few_shot.py --data DIR --encoder FOLDER [--shots 8 16 64] [--seeds 3] [--test 400]
        [--minutes 3] [--frozen] [--sets sst2 ag_news]

DIR holds the folders sst2 and ag_news, FOLDER is a sentence encoder such as all-MiniLM-L6-v2. From its vectors: the
nearest prototype, logistic regression, and both again after contrastive tuning on pairs of the examples (SetFit;
PAIRS of them at most, so fewer than the paper's 20 of a kind for each row). Beside them the encoder tuned whole with a
head for classes, as usual; `--frozen` leaves out what trains. For a cloze and examples in context a small masked model
and a small decoder are pretrained for `--minutes` each on the unlabelled training texts of the sets (0 leaves them
out): they show what the calls do, not what large models reach. Accuracy on the first `--test` test rows, the mean over
the seeds that draw the examples and its 95 % interval by Student's t.
"""

import argparse
import csv
import gzip
import json
import random
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score

import viva
from viva.cli.table import show
from viva.evaluate.classes import interval

PAIRS = 320
AG = {"World": "world", "Sports": "sports", "Business": "business", "Sci/Tech": "science"}
Rows = list[tuple[str, str]]  # texts with their classes


@dataclass(frozen=True)
class Set:
    """A data set, with the pattern and the words by which a language model is asked."""

    train: Rows
    test: Rows
    cloze: str
    context: str
    words: dict[str, str]


def sst2(data: Path) -> Set:
    def read(name: str) -> Rows:
        with gzip.open(data / "sst2" / f"{name}.tsv.gz", "rt", encoding="utf-8") as file:
            pairs = [line.rstrip("\n").split("\t") for line in file]
        return [(text, {"0": "negative", "1": "positive"}[label]) for text, label in pairs]

    words = {"negative": "bad", "positive": "good"}
    return Set(read("train"), read("test"), "{text} it was {word} .", "{text} it was {word} .\n", words)


def ag_news(data: Path) -> Set:
    def read(name: str) -> Rows:
        with gzip.open(data / "ag_news" / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
            return [(f"{title}. {text}", list(AG)[int(label) - 1]) for label, title, text in csv.reader(file)]

    return Set(read("train"), read("test"), "{word} news: {text}", "{text} topic: {word}\n", AG)


SETS = {"sst2": sst2, "ag_news": ag_news}


def drawn(rows: Rows, shots: int, seed: int) -> Rows:
    """So many examples of each class."""
    by_class = defaultdict(list)
    for row in rows:
        by_class[row[1]].append(row)
    return [row for name in sorted(by_class) for row in random.Random(seed).sample(by_class[name], shots)]


def run(out: Path, rows: list[dict], **changes) -> viva.LanguageModel:
    """A model trained on rows."""
    data = out.with_suffix(".jsonl")
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = {"out": str(out), "data": {"kind": "files", "path": str(data)}, "valid": 0, **changes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return viva.load(viva.train(recipe).checkpoint)


def tuned(encoder: str, examples: Rows, out: Path, seed: int) -> viva.LanguageModel:
    """The encoder after contrastive tuning on pairs of the examples."""
    rows = [{"text": text, "label": label} for text, label in examples]
    pairs = max(1, PAIRS // (2 * len(rows)))
    source = out.with_suffix(".rows.jsonl")
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    contrast = {"kind": "contrast", "data": {"kind": "files", "path": str(source)}, "pairs": pairs, "seed": seed}
    train = {"epochs": 1, "batch": 16, "context": 256, "lr": 2e-5, "long": "drop"}
    form = {"kind": "pairs", "first": "first", "second": "second", "value": "value"}
    return run(out, [], init=encoder, data=contrast, format=form, objective="similar", train=train, seed=seed)


def classifier(encoder: str, examples: Rows, out: Path, seed: int) -> viva.LanguageModel:
    """The encoder tuned whole, with a head for classes."""
    rows = [{"text": text, "label": label} for text, label in examples]
    train = {"steps": 40, "batch": 16, "context": 256, "lr": 1e-4, "long": "drop"}
    head = {"kind": "classify", "labels": len({label for _, label in examples}), "pool": "mean"}
    return run(out, rows, init=encoder, head=head, format="classes", objective="classify", train=train, seed=seed)


def language_model(kind: str, sets: list[Set], out: Path, minutes: float) -> viva.LanguageModel:
    """A small masked model, `bert`, or a decoder, `llama`, that has read the training texts of all sets."""
    rows = [{"text": text} for each in sets for text, _ in each.train]
    model = {"kind": kind, "width": 256, "layers": 4, "heads": 4, "context": 512}
    learner = {"kind": "wordpiece" if kind == "bert" else "byte_bpe", "vocab_size": 8000, "mask": kind == "bert"}
    train = {"minutes": minutes, "batch": 16, "context": 256, "lr": 1e-3}
    objective = "masked" if kind == "bert" else "causal"
    return run(out, rows, model=model, tokenizer=learner, objective=objective, train=train)


def by_vectors(model: viva.LanguageModel, examples: Rows, texts: list[str]) -> Iterator[tuple[str, list[str]]]:
    """What prototypes and logistic regression tell by a model's vectors."""
    grouped = defaultdict(list)
    for text, label in examples:
        grouped[label].append(text)
    yield "nearest prototype", [each.label for each in model.nearest(texts, grouped)]
    regression = LogisticRegression(max_iter=1000).fit(model.embed([t for t, _ in examples]), [c for _, c in examples])
    yield "logistic regression", regression.predict(model.embed(texts)).tolist()


def ways(each: Set, shots: int, seed: int, given: argparse.Namespace, models: dict, place: Path) -> Iterator[tuple]:
    """(name, predictions) of each way to tell classes by examples."""
    examples, texts = drawn(each.train, shots, seed), [text for text, _ in each.test[: given.test]]
    yield from by_vectors(models["encoder"], examples, texts)
    if not given.frozen:
        contrasted = tuned(given.encoder, examples, place / f"c-{id(each)}-{shots}-{seed}", seed)
        yield from ((f"contrastive, {name}", found) for name, found in by_vectors(contrasted, examples, texts))
        whole = classifier(given.encoder, examples, place / f"w-{id(each)}-{shots}-{seed}", seed)
        yield "tuned whole", [found.label for found in whole.classify(texts)]
    if "llama" in models and shots == min(given.shots):
        shown = random.Random(seed).sample(examples, min(4, len(examples)))
        told = models["llama"].in_context(texts, each.context, each.words, [(t[:200], c) for t, c in shown])
        yield "in context, small decoder, 4 examples", [found.label for found in told]
        told = models["bert"].cloze(texts, each.cloze, each.words)
        yield "cloze, small masked model, no example", [found.label for found in told]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--encoder", required=True)
    asked.add_argument("--shots", type=int, nargs="+", default=[8, 16, 64])
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--test", type=int, default=400)
    asked.add_argument("--minutes", type=float, default=3)
    asked.add_argument("--frozen", action="store_true")
    asked.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    given = asked.parse_args()
    sets = {name: SETS[name](given.data) for name in given.sets}
    with tempfile.TemporaryDirectory() as made:
        place, models = Path(made), {"encoder": viva.load(given.encoder)}
        for kind in ("bert", "llama") if given.minutes else ():
            models[kind] = language_model(kind, list(sets.values()), place / kind, given.minutes)
        for name, each in sets.items():
            right, found, took = [c for _, c in each.test[: given.test]], defaultdict(list), time.perf_counter()
            for shots in given.shots:
                for seed in range(given.seeds):
                    for way, told in ways(each, shots, seed, given, models, place):
                        found[way, shots].append(100 * accuracy_score(right, told))
            print(f"\n{name}: accuracy in % of {len(right)} test rows; {time.perf_counter() - took:.0f} s\n")
            rows = [
                [way, *(_cell(found[way, shots]) for shots in given.shots)]
                for way in dict.fromkeys(w for w, _ in found)
            ]
            show(["way", *(f"{shots} a class" for shots in given.shots)], rows)


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    return "{:.1f} ± {:.1f}".format(*interval(values)) if len(values) > 1 else f"{values[0]:.1f}"


if __name__ == "__main__":
    main()
