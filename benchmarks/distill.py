"""What a teacher's answers are worth to a small student.

    python benchmarks/distill.py sst2 --data DIR --encoder FOLDER --out runs/distill [--seeds 3] [--width 128]
        [--times 10] [--epochs 3] [--ways alone table distilled more]
    python benchmarks/distill.py decoder --out runs/distill [--steps 600] [--seeds 3]

sst2: BERT to LSTM (Tang et al. 2019, https://arxiv.org/abs/1903.12136). The encoder in FOLDER, tuned, is the teacher of
an LSTM both ways. Ways: "alone" learns the classes from nothing, "table" with word vectors to begin with, the principal
components of the teacher's, "distilled" has these and learns the teacher's scores too, "more" those alone, of --times
as many texts more, made from the same by leaving words out (section 3.2). The test file gives accuracy, beside it
parameters and the time of a text.

decoder: a large decoder to a small one, on the embedded Python text: held-out loss of the small one alone, and taught.
"""

import argparse
import json
import random
from pathlib import Path
from statistics import median
from time import perf_counter

import torch

import viva
from viva.base.config import read_yaml
from viva.evaluate.classes import interval, predicted, scores
from viva.infer.classify import class_scores
from viva.model import folder
from viva.model.arch import rnn
from viva.model.init import initialise
from viva.text.rows.corpus import table
from viva.text.rows.format import classes
from viva.text.rows.row import Row

RECIPES = Path(__file__).parents[1] / "recipes"
LABELS = ["0", "1"]
FORM = classes.Config(labels=tuple(LABELS))
COLUMNS = ("text", "label")
WAYS = ("alone", "table", "distilled", "more")
LEFT_OUT, GRAM = 0.1, 0.25  # Tang et al. 2019: shares of words masked, and of texts of which an n-gram alone is left
TEACHER = {"train.epochs": 2, "train.lr": 1e-4, "train.context": 128}
HEAD = {"kind": "classify", "labels": 2, "pool": "mean", "dropout": 0.1}
STUDENT = {"parts": "encoder", "both_ways": True, "layers": 1, "context": 256, "dropout": 0.3}


def corpus(folder: Path, part: str) -> dict:
    return {"kind": "table", "path": str(folder / "sst2" / f"{part}.tsv.gz"), "columns": [*COLUMNS]}


def rows(folder: Path, part: str) -> list[dict]:
    return [row.data for row in table.Config(path=corpus(folder, part)["path"], columns=COLUMNS).rows()]


def varied(words: list[str], pick: random.Random) -> list[str]:
    """Words without some of them or, of some texts, 1 to 5 that follow each other."""
    if pick.random() < GRAM:
        n = min(len(words), pick.randint(1, 5))
        at = pick.randrange(len(words) - n + 1)
        return words[at : at + n]
    return [word for word in words if pick.random() >= LEFT_OUT] or words


def more(given: argparse.Namespace) -> Path:
    """A file of the training texts, and of `times` variants of each. What class they say is not learned."""
    pick, path = random.Random(0), given.out / f"more-{given.times}.jsonl"
    with open(path, "w", encoding="utf-8") as file:
        for row in rows(given.data, "train"):
            words = row["text"].split()
            texts = [row["text"], *(" ".join(varied(words, pick)) for _ in range(given.times))]
            file.writelines(json.dumps(row | {"text": text}) + "\n" for text in texts)
    return path


def whole(run) -> Path:
    """The folder of a run that came to its end; one that was stopped is measured by nobody."""
    if not run.finished:
        raise SystemExit(f"{run.folder} was stopped before its end; the same command goes on from there")
    return run.folder


def teacher(given: argparse.Namespace) -> Path:
    """The encoder, tuned; one that is there is taken."""
    tree = read_yaml(RECIPES / "classify.yaml") | {"data": corpus(given.data, "train")}
    tree |= {"held_out": corpus(given.data, "dev"), "valid": 0.0, "head": HEAD}
    changes = {"init": str(given.encoder), "out": str(given.out / "teacher"), "format.labels": LABELS}
    return whole(viva.train(tree, changes | TEACHER | {"train.eval_every": 100}))


def beginning(given: argparse.Namespace, taught: Path, way: str, seed: int) -> Path:
    """A new student; but for the way "alone" its table is made of the teacher's."""
    known, place = viva.load(taught), given.out / f"student-{way}-{given.width}-{seed}"
    config = rnn.Config(width=given.width, vocab=known.model.spec.vocab, head=HEAD | {"pool": "max"}, **STUDENT)
    made = initialise(config.spec().build(), seed)
    if way != "alone":
        with torch.no_grad():
            made.embedding.weight.copy_(components(known.model.embedding.weight, made.embedding.weight))
    folder.save(place, config, made, known.tokenizer, {"labels": LABELS})
    return place


def components(table: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """The principal components of a table, as many as a new one has columns, as wide spread as that."""
    words = table - table.mean(0)
    _, axes = torch.linalg.eigh(words.T @ words)
    along = words @ axes[:, -new.shape[1] :]
    return along * (new.std() / along.std())


def student(given: argparse.Namespace, taught: Path, way: str, seed: int) -> Path:
    """A student trained one way; the folder of its run."""
    tree = read_yaml(RECIPES / "distill-sst2.yaml") | {"model": None, "tokenizer": None, "valid": 0.0}
    tree |= {"data": corpus(given.data, "train"), "held_out": corpus(given.data, "dev")}
    changes = {"init": str(beginning(given, taught, way, seed)), "out": str(given.out / f"{way}-{given.width}-{seed}")}
    changes |= {"seed": seed, "format.labels": LABELS, "train.eval_every": 200}
    by_the_teacher = {"objective.teacher": str(taught)}
    ways = {
        "alone": {"objective": {"kind": "classify"}},
        "table": {"objective": {"kind": "classify"}},
        "distilled": by_the_teacher,
        "more": by_the_teacher | {"objective.hard": 0.0, "objective.logits.weight": 1.0, "train.epochs": given.epochs},
    }
    if way == "more":
        changes["data"] = {"kind": "files", "path": str(more(given))}
    return whole(viva.train(tree, changes | ways[way]))


def accuracy(model: viva.LanguageModel, test: list[dict]) -> float:
    return 100 * scores(*predicted(model.model, model.tokenizer, FORM, [Row(row, "test") for row in test])).accuracy


def milliseconds(models: list, test: list[dict], texts: int = 200) -> list[float]:
    """The median time of one text, one at a time, the models by turns."""
    read = [model.model.eval() for model in models]
    times = [[] for _ in read]
    for row in test[:texts]:
        for model, own, taken in zip(read, models, times, strict=True):
            examples = FORM.examples([Row(row, "test")], own.tokenizer)
            start = perf_counter()
            class_scores(model, examples)
            taken.append(1000 * (perf_counter() - start))
    return [median(taken) for taken in times]


def size(model: torch.nn.Module) -> tuple[float, float]:
    """Millions of parameters, and of those beside the tables that are looked up."""
    tables = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Embedding))
    whole = sum(parameter.numel() for parameter in model.parameters())
    return whole / 1e6, (whole - tables) / 1e6


def told(found: list[float]) -> str:
    if len(found) < 2:
        return f"{found[0]:5.2f} (one seed)"
    return "{:5.2f} +- {:4.2f}".format(*interval(found))


def sst2(given: argparse.Namespace) -> None:
    test, taught = rows(given.data, "test"), given.teacher or teacher(given)
    known = viva.load(taught)
    best = accuracy(known, test)
    print(f"teacher    accuracy {best:5.2f}", flush=True)
    for way in given.ways:
        runs = [viva.load(student(given, taught, way, seed)) for seed in range(given.seeds)]
        found = [accuracy(one, test) for one in runs]
        print(
            f"{way:10} accuracy {told(found)}   {100 * sum(found) / len(found) / best:.1f} % of the teacher's",
            flush=True,
        )
    for name, model, taken in zip(
        ("teacher", "student"), (known, runs[0]), milliseconds([known, runs[0]], test), strict=True
    ):
        whole, rest = size(model.model)
        print(f"{name:10} {whole:6.2f} M parameters, {rest:6.2f} M beside tables, {taken:6.2f} ms a text")


def decoder(given: argparse.Namespace) -> None:
    """Teacher and student share a tokenizer; both students see the same rows in the same order."""
    base = {"data": {"kind": "python"}, "valid": 0.02}
    train = {"steps": given.steps, "batch": 8, "context": 256, "optim": "muon", "lr": 3e-3, "eval_every": given.steps}
    sizes = {"kind": "llama", "heads": 4, "kv_heads": 4, "context": 256}
    large, small = (sizes | {"width": w, "layers": n, "hidden": 3 * w} for w, n in ((256, 6), (64, 2)))
    run = lambda out, tree: viva.train({**base, "train": train, "out": str(given.out / out), **tree})  # noqa: E731
    taught = run("decoder-teacher", {"model": large, "tokenizer": {"vocab_size": 2048}})
    print(f"teacher    held out {taught.metrics['valid_loss']:.3f} nats a token", flush=True)
    objectives = {
        "alone": {"kind": "causal"},
        "taught": {"kind": "distill", "teacher": str(taught.folder), "hard": 0.5, "logits": {"temperature": 1.0}},
    }
    for way, objective in objectives.items():
        trees = [
            {"model": small, "tokenizer": str(taught.folder), "objective": objective, "seed": n}
            for n in range(given.seeds)
        ]
        runs = [run(f"decoder-{way}-{n}", tree) for n, tree in enumerate(trees)]
        found = [one.metrics.get("valid_hard", one.metrics["valid_loss"]) for one in runs]
        shown = "{:.3f} +- {:.3f}".format(*interval(found)) if len(found) > 1 else f"{found[0]:.3f} (one seed)"
        print(f"{way:10} held out {shown} nats a token", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("sst2", "decoder"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--encoder", type=Path, help="the folder of a pretrained encoder")
    parser.add_argument("--teacher", type=Path, help="a run in which one was tuned already")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=int, default=128, help="of the student")
    parser.add_argument("--times", type=int, default=10, help="variants of a text")
    parser.add_argument("--epochs", type=float, default=3.0, help="over texts and variants")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--steps", type=int, default=600, help="of decoders")
    given = parser.parse_args()
    if given.what == "sst2" and not (given.data and (given.encoder or given.teacher)):
        parser.error("sst2 needs --data, and --encoder or --teacher")
    {"sst2": sst2, "decoder": decoder}[given.what](given)


if __name__ == "__main__":
    main()
