"""`viva reward`: what a reward model is worth, before it is used."""

import json
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators

Count = Annotated[int, Parameter(validator=validators.Number(gte=0))]

app = App(name="reward", help="Measure a reward model before it is used.", help_format="plaintext")


@app.command
def report(
    model: str,
    *fields: str,
    data: str,
    train: str | None = None,
    out: Path | None = None,
    worst: Count = 5,
    drop: bool = False,
) -> None:
    """Measure a reward model on pairs it has not learned from: how many it tells right, beside which answer is longer
    and a bag of words; whether it is as sure as it is right; what it has to do with length; where it is most wrong.
    Pairs that are in the data of its run are counted and warned of, and so are those that the baselines learned from.

    The report is kept beside the model, and what it warns of is said where the model is used as a reward: in the folder
    of its weights, reward_report.json, .md and .png.

    Example: viva reward report runs/reward-hh --data test.jsonl.gz --train train.jsonl.gz

    Parameters
    ----------
    model
        a run or a folder of a model with the head regress
    fields
        field=value of the format preference; left out, those of the run's recipe
    data
        a file, a folder or a glob of rows with two answers each, which the model has not learned from
    train
        where the baselines learn; left out, each fifth of the data is told by what the others teach
    out
        another folder to write the report into
    worst
        how many of the pairs told wrong are shown, the worst first
    drop
        leave out pairs that are too long for the model and rows that cannot be read, and say how many
    """
    from viva import api
    from viva.align import vouched
    from viva.base.files import write_text
    from viva.evaluate.reward import scored
    from viva.evaluate.reward.page import page
    from viva.evaluate.reward.plot import draw
    from viva.evaluate.reward.report import measure
    from viva.evaluate.reward.trained import trained_on
    from viva.text.rows.corpus import files

    where, run = api.located(model), _run(Path(model))
    form = _form(run, fields)
    loaded = api.load(where)
    learned = None
    if train is not None:
        learned, _ = scored.read(files.Config(path=train).rows(), form, loaded.tokenizer, drop)
    found = scored.score(loaded.model, loaded.tokenizer, form, files.Config(path=data).rows(), drop)
    told = measure(data, form, found, learned, worst, trained_on(run, form, loaded.tokenizer))
    text = page(told)
    print(text, end="")
    kept = told.json() | {"weights": vouched.weights(where)}
    kept = json.dumps(kept, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    for folder in (where, *([] if out is None else [out])):
        write_text((folder / vouched.FILE).with_suffix(".md"), text)
        draw(told, found, (folder / vouched.FILE).with_suffix(".png"))
        write_text(folder / vouched.FILE, kept)


def _run(model: Path) -> Path:
    """The folder of the run that a model is or is a checkpoint of, if its recipe is there; else the model's own."""
    from viva.train.recipe import FILE

    places = (model, *model.resolve().parents[1:2])
    return next((place for place in places if (place / FILE).is_file()), model)


def _form(run: Path, fields: tuple[str, ...]):
    """The format preference, with the fields that are given or else those by which the run learned."""
    from viva.base.config import parse, read_yaml
    from viva.text.rows.format import preference
    from viva.train.recipe import FILE

    known = dict(read_yaml(run / FILE)["format"]) if (run / FILE).is_file() and not fields else {}
    if known.pop("kind", None) != "preference":
        known = {}
    return parse(preference.Config, known, fields, "the format preference")
