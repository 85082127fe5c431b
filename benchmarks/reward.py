"""What a small reward model is worth on real preferences, beside the longer answer and a bag of words.

    python benchmarks/reward.py --data DIR --init MODEL --out runs/reward [--sets hh_rlhf] [section.key=value ...]

DIR holds hh_rlhf and alpaca_eval_pairs, each with train.jsonl.gz and test.jsonl.gz. MODEL is a pretrained encoder, such
as sentence-transformers/all-MiniLM-L6-v2. A model is trained for each set by recipes/reward-hh.yaml, with the changes
that are given, and reported on the test file; baselines learn from the same training file. All is read as dialogues,
"\\n\\nHuman: ...\\n\\nAssistant: ...".
"""

import argparse
import json
import time
from pathlib import Path

import yaml

import viva
from viva.align import vouched
from viva.base.errors import Refusal
from viva.cli import main as verb
from viva.text.rows.corpus import files
from viva.text.rows.format.preference import Config as Format
from viva.text.tokens.tokenizer import Tokenizer

RECIPE = Path(__file__).parents[1] / "recipes" / "reward-hh.yaml"
SETS = ("hh_rlhf", "alpaca_eval_pairs")
FORM = Format(plain=True)


def dialogues(row: dict) -> dict[str, str]:
    """Both answers of a row, each behind its prompt."""
    before = f"\n\nHuman: {row['prompt']}\n\nAssistant: " if "prompt" in row else ""
    return {side: before + row[side] for side in ("chosen", "rejected")}


def written(source: Path, target: Path, tokenizer: Tokenizer) -> Path:
    """The rows that compare two answers to one prompt, as dialogues; how many do not is printed."""
    kept, refused = [], 0
    for row in files.Config(path=str(source)).rows():
        made = dialogues(row.data)
        try:
            FORM.drafts(type(row)(made, row.where), tokenizer)
        except Refusal:
            refused += 1
        else:
            kept.append(made)
    print(f"{source.parent.name}/{source.name}: {len(kept)} pairs, {refused} rows compare nothing")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept), encoding="utf-8")
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--init", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    given, changes = parser.parse_known_args()
    changes = {name: yaml.safe_load(value) for name, value in (change.split("=", 1) for change in changes)}
    tokenizer = viva.load_tokenizer(given.init)
    for name in given.sets:
        out = given.out / name
        train, test = (
            written(given.data / name / f"{part}.jsonl.gz", given.out / "rows" / name / f"{part}.jsonl", tokenizer)
            for part in ("train", "test")
        )
        started = time.monotonic()
        told = {"out": str(out), "init": given.init, "data.path": str(train), "held_out.path": str(test)}
        viva.train(RECIPE, told | changes)
        print(f"{name}: trained in {(time.monotonic() - started) / 60:.1f} min", flush=True)
        verb(
            [
                "reward",
                "report",
                str(out),
                "--data",
                str(test),
                "--train",
                str(train),
                "--drop",
                "--out",
                f"{out}-report",
            ]
        )
        found = json.loads((Path(f"{out}-report") / vouched.FILE).read_text(encoding="utf-8"))
        print(f"{name}: {json.dumps({key: found[key] for key in ('accuracy', 'baselines', 'flags')})}", flush=True)


if __name__ == "__main__":
    main()
