"""What a small reward model is worth on real preferences, beside the longer answer and a bag of words.

    python benchmarks/reward.py --data DIR --init MODEL --out runs/reward [--sets hh_rlhf] [section.key=value ...]

DIR holds hh_rlhf and alpaca_eval_pairs, each with train.jsonl.gz and test.jsonl.gz, and human_judged_pairs with
pandalm_test.jsonl.gz and llmbar.jsonl.gz. MODEL is a pretrained encoder, such as all-MiniLM-L6-v2. A model is trained
for each set by recipes/reward-hh.yaml, with what CHANGES says of the set and the changes given; no test file is looked
at for that. Where the training rows say of what subset they are, the encoder learns that first, of the prompts alone
(recipes/classify.yaml): what makes a good answer is another thing where help is asked for and where harm is.

It is reported on the pairs of TESTS, the set's own test file last, so that this report stays beside it; baselines learn
from the pairs that stand there too. A run that is there is only reported on.
"""

import argparse
import json
import time
from itertools import chain
from pathlib import Path
from statistics import mode

import yaml

import viva
from viva.align import vouched
from viva.base.config import read_yaml
from viva.base.errors import Refusal
from viva.cli import main as verb
from viva.text.rows.corpus import files
from viva.text.rows.format._dialogue import parted
from viva.text.rows.format.preference import Config as Format
from viva.text.rows.row import Row
from viva.text.tokens.tokenizer import Tokenizer

RECIPES = Path(__file__).parents[1] / "recipes"
CHANGES = {
    "hh_rlhf": {},
    "alpaca_eval_pairs": {
        "filter": ["unreadable"],  # of 13 the answers differ in capitals alone, which an uncased tokenizer does not see
        "format.within": None,  # nearly all of a pair is its answers
        "valid": 0.05,
        "train.epochs": 1.5,
        "train.lr": 2e-4,
        "train.freeze": ["embedding", *(f"encoder.layers.{n}" for n in range(3))],
    },
}
KINDS = {"train.epochs": 1, "train.lr": 1e-4, "train.context": 256, "train.long": "drop", "train.eval_every": 100}
ALPACA = ("alpaca_eval_pairs/train", "")
LLMBAR = "human_judged_pairs/llmbar"
# Of each set by name: a file to be told, where the baselines learn, and of each file how the subset begins.
TESTS = {
    "hh_rlhf": {
        "helpful": (("hh_rlhf/test", "helpful"), ("hh_rlhf/train", "helpful")),
        "harmless": (("hh_rlhf/test", "harmless"), ("hh_rlhf/train", "harmless")),
        "test": (("hh_rlhf/test", ""), ("hh_rlhf/train", "")),
    },
    "alpaca_eval_pairs": {
        "pandalm_test": (("human_judged_pairs/pandalm_test", ""), ALPACA),
        "llmbar-natural": ((LLMBAR, "Natural"), ALPACA),
        "llmbar-adversarial": ((LLMBAR, "Adversarial"), ALPACA),
        "test": (("alpaca_eval_pairs/test", ""), ALPACA),
    },
}
ANNOTATORS = ("annotator1", "annotator2", "annotator3")
FORM = Format(plain=True)


def pair(row: dict) -> dict | None:
    """The two answers of a row, the better one first, as a dialogue; None where nobody says which is better."""
    if "response1" in row:  # PandaLM: what most of three people say
        asked = "\n\n".join(filter(None, (row["instruction"], row["input"])))
        return _judged(asked, row["response1"], row["response2"], mode(row[name] for name in ANNOTATORS))
    if "output_1" in row:  # LLMBar: the one that does what it is told
        return _judged(row["input"], row["output_1"], row["output_2"], row["label"])
    return _judged(row["prompt"], row["chosen"], row["rejected"], 1) if "prompt" in row else row


def _judged(asked: str, one: str, two: str, better: int) -> dict | None:
    """`better` is 1 or 2, or 0 for neither."""
    chosen, rejected = (two, one) if better == 2 else (one, two)
    return {"prompt": f"\n\nHuman: {asked}\n\nAssistant: ", "chosen": chosen, "rejected": rejected} if better else None


def compares(made: dict | None, row: Row, tokenizer: Tokenizer) -> bool:
    """Whether this is two answers to one prompt."""
    try:
        return made is not None and bool(FORM.drafts(Row(made, row.where), tokenizer))
    except Refusal:
        return False


def written(given: argparse.Namespace, of: tuple[str, str], tokenizer: Tokenizer) -> Path:
    """A file of the pairs in another; how many of its rows are none is printed."""
    source, subset = of
    every = files.Config(path=str(given.data / f"{source}.jsonl.gz")).rows()
    rows = [row for row in every if row.data.get("subset", "").startswith(subset)]
    made = [found for row in rows if compares(found := pair(row.data), row, tokenizer)]
    target = given.out / "rows" / f"{source} {subset}".strip()
    target = target.with_name(f"{target.name}.jsonl".replace(" ", "-"))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made), encoding="utf-8")
    print(f"{target}: {len(made)} pairs, {len(rows) - len(made)} rows compare nothing")
    return target


def told_apart(given: argparse.Namespace, name: str) -> str:
    """The encoder, as it comes or, where a set has subsets, tuned to tell them by the prompts."""
    rows = [row.data for row in files.Config(path=str(given.data / name / "train.jsonl.gz")).rows()]
    if "subset" not in rows[0]:
        return given.init
    source, out = given.out / "rows" / name / "kinds.jsonl", given.out / f"{name}-kinds"
    prompts = [{"text": parted(row["chosen"], row["rejected"])[0], "label": row["subset"]} for row in rows]
    source.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in prompts), encoding="utf-8")
    tree = read_yaml(RECIPES / "classify.yaml") | {"data": {"kind": "files", "path": str(source)}, "valid": 0.05}
    tree |= {"head": {"kind": "classify", "labels": len({row["subset"] for row in rows}), "pool": "mean"}}
    return str(viva.train(tree, {"out": str(out), "init": given.init} | KINDS).folder)


def last(run: Path) -> Path:
    """The last checkpoint: held-out pairs are told right more often to the end, though their loss turns up before."""
    return max((run / "checkpoints").glob("step-*"))


def reported(model: Path, out: Path, test: Path, train: Path) -> None:
    """Print a report in full, and its main figures in a line."""
    verb(["reward", "report", str(model), "--data", str(test), "--train", str(train), "--drop", "--out", str(out)])
    found = json.loads((out / vouched.FILE).read_text(encoding="utf-8"))
    figures = {key: found[key] for key in ("pairs", "left_out", "accuracy", "baselines", "flags")}
    print(f"{out.name}: {json.dumps(figures)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--init", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=list(TESTS), default=list(TESTS))
    given, changes = parser.parse_known_args()
    changes = {name: yaml.safe_load(value) for name, value in (change.split("=", 1) for change in changes)}
    tokenizer = viva.load_tokenizer(given.init)
    for name in given.sets:
        out = given.out / name
        pairs = {of: written(given, of, tokenizer) for of in dict.fromkeys(chain(*TESTS[name].values()))}
        started = time.monotonic()
        told = {"out": str(out), "init": told_apart(given, name), "data.path": str(pairs[f"{name}/train", ""])}
        viva.train(RECIPES / "reward-hh.yaml", told | CHANGES[name] | changes)
        print(f"{name}: trained in {(time.monotonic() - started) / 60:.1f} min", flush=True)
        for each, (test, train) in TESTS[name].items():
            reported(last(out), out.with_name(f"{name}-{each}"), pairs[test], pairs[train])


if __name__ == "__main__":
    main()
