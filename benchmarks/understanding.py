"""What masked-language-model pretraining is worth: classes told by an encoder that was pretrained, by one from nothing,
and by a frozen one, and what helps where classes are of unequal size.

    python benchmarks/understanding.py pretrain --data DIR --out runs/understanding [--steps 8000]
    python benchmarks/understanding.py classify --data DIR --out runs/understanding [--seeds 3]
        [--sets sst2] [--ways frozen]
    python benchmarks/understanding.py imbalance --data DIR --out runs/understanding [--seeds 3]

DIR holds gutenberg, wikitext2, clue_corpus_zh, ag_news, sst2 and thucnews_titles. Pretraining reads the first three and
the training texts of the others, never a test file of these. Test files give accuracy and macro F1, with the 95 %
interval over seeds.
"""

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

import viva
from viva.base.config import read_yaml
from viva.evaluate.classes import interval, predicted, scores
from viva.text.rows.corpus import files, table
from viva.text.rows.format import classes
from viva.text.rows.row import Row

RECIPES = Path(__file__).parents[1] / "recipes"
SETS = {"ag_news": "csv", "sst2": "tsv", "thucnews_titles": "tsv"}  # the ending of train and test
FROZEN = ["embedding", "encoder"]
WAYS = {
    "pretrained": {},
    "from nothing": {"init": None},
    "frozen": {"train.freeze": FROZEN, "head": {"kind": "classify", "labels": None, "pool": "mean"}, "train.lr": 0.003},
}
REMEDIES = {
    "none": {},
    "weights": {"objective.weights": "balanced"},
    "focal, gamma 2": {"objective.gamma": 2.0},
    "balanced sampling": {"train.balanced": True},
}
COUNTS = (1500, 300, 30)  # of classes 1, 2 and 3 of ag_news: 50 to 10 to 1
MODEL = {"kind": "bert", "width": 256, "layers": 4, "heads": 4, "context": 256, "dropout": 0.1}
VOCAB = 8192


def rows(folder: Path, name: str, part: str) -> list[dict]:
    """Text and class of each row of a set; of ag_news title and description are one text."""
    path = str(folder / name / f"{part}.{SETS[name]}.gz")
    columns = ("label", "title", "text") if name == "ag_news" else ("text", "label")
    found = (row.data for row in table.Config(path=path, columns=columns).rows())
    return [{"text": f"{row.get('title', '')} {row['text']}".strip(), "label": row["label"]} for row in found]


def texts(folder: Path) -> Iterator[str]:
    """What is pretrained on: pieces of books and articles, and the texts to be classified later."""
    for name, piece in {"gutenberg": 1200, "wikitext2": 1200, "clue_corpus_zh": 400}.items():
        yield from (row.data["text"] for row in files.Config(path=str(folder / name), piece=piece).rows())
    for name in SETS:
        yield from (row["text"] for row in rows(folder, name, "train"))


def written(path: Path, found) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), encoding="utf-8")
    return path


def pretrain(given: argparse.Namespace) -> None:
    data = written(given.out / "texts.jsonl", ({"text": text} for text in texts(given.data) if text.strip()))
    changes = {"out": str(given.out / "pretrained"), "data": {"kind": "files", "path": str(data)}}
    changes |= {"model": MODEL | {"dropout": 0.0}, "tokenizer": {"vocab_size": VOCAB, "mask": True}}
    changes |= {"train.minutes": None, "train.steps": given.steps}
    done = viva.train(RECIPES / "pretrain-bert.yaml", changes)
    print(f"pretrained for {given.steps} steps: {done.metrics}")


def trained(given: argparse.Namespace, data: Path, labels: list[str], out: str, changes: dict, seed: int) -> Path:
    """A classifier trained by recipes/classify.yaml with `changes`; the folder of its run."""
    base = given.out / "pretrained"
    changes = {"init": str(base), "seed": seed, "out": str(given.out / out), **changes}
    if changes["init"] is None:
        changes |= {"model": MODEL, "tokenizer": str(next((base / "checkpoints").glob("step-*")))}
    if "head" in changes:
        changes["head"] = changes["head"] | {"labels": len(labels)}
    tree = read_yaml(RECIPES / "classify.yaml") | {"data": {"kind": "files", "path": str(data)}}
    return viva.train(tree, {**changes, "format.labels": labels, "valid": 0.0, "train.long": "drop"}).folder


def measured(run: Path, labels: list[str], test: list[dict]):
    model = viva.load(run)
    form = classes.Config(labels=tuple(labels))
    return scores(*predicted(model.model, model.tokenizer, form, [Row(row, "test") for row in test]))


def said(given: argparse.Namespace, data: Path, labels: list[str], test: list[dict], name: str, changes: dict) -> None:
    """Train one way under each seed, and print what came of it."""
    runs = [f"{data.stem}-{name}-{seed}".replace(" ", "-").replace(",", "") for seed in range(given.seeds)]
    found = [measured(trained(given, data, labels, run, changes, seed), labels, test) for seed, run in enumerate(runs)]
    shown = []
    for key in ("accuracy", "macro_f1"):
        mean, within = interval([100 * getattr(one, key) for one in found])
        shown.append(f"{key} {mean:5.1f} +- {within:4.1f}")
    print(f"  {name:20} {'   '.join(shown)}", flush=True)


def classify(given: argparse.Namespace) -> None:
    for name in given.sets:
        train, test = (rows(given.data, name, part) for part in ("train", "test"))
        labels = sorted({row["label"] for row in train}, key=int)
        data = written(given.out / f"{name}.jsonl", train)
        print(f"{name}: {len(train)} to learn, {len(test)} to tell, {len(labels)} classes", flush=True)
        for way in given.ways:
            said(given, data, labels, test, way, WAYS[way])


def imbalance(given: argparse.Namespace) -> None:
    train, test = (rows(given.data, "ag_news", part) for part in ("train", "test"))
    labels = ["1", "2", "3"]
    random.Random(0).shuffle(train)
    of = {label: [row for row in train if row["label"] == label] for label in labels}
    few = [row for n, label in zip(COUNTS, labels, strict=True) for row in of[label][:n]]
    data, test = written(given.out / "imbalanced.jsonl", few), [row for row in test if row["label"] in labels]
    print(f"ag_news, classes of {COUNTS}; the test set has them alike", flush=True)
    for way, changes in REMEDIES.items():
        said(given, data, labels, test, way, changes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pretrain", "classify", "imbalance"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=8000, help="of pretraining")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    given = parser.parse_args()
    if given.seeds < 2:
        parser.error(f"an interval needs --seeds of at least 2, not {given.seeds}")
    {"pretrain": pretrain, "classify": classify, "imbalance": imbalance}[given.what](given)


if __name__ == "__main__":
    main()
