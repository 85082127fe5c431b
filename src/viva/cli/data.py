"""`viva data`: look at data before anything is learned of it."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators

Count = Annotated[int, Parameter(validator=validators.Number(gte=0))]

BYTES = 260  # of a vocabulary of bytes and the four special tokens

app = App(name="data", help="Check data before anything is learned of it.", help_format="plaintext")


@app.command
def check(
    path: str,
    *fields: str,
    format: str = "auto",
    tokenizer: str | None = None,
    template: str | None = None,
    columns: str | None = None,
    target: str | None = None,
    context: Annotated[int | None, Parameter(validator=validators.Number(gt=0))] = None,
    faults: Count = 5,
    examples: Count = 3,
    html: Path | None = None,
    json: bool = False,
) -> int:
    """Go over all rows: which cannot be used and why, how many tokens are learned, how long documents are, how they
    look. Exit code 1 where something is wrong.

    Example: viva data check data.jsonl --format prompt prompt=question completion=answer --tokenizer runs/base

    Parameters
    ----------
    path
        a file, a folder or a glob of txt, md, py, json, jsonl (also .gz) or parquet files, or of csv and tsv files
    fields
        field=value of the format, as in a recipe: `viva fields format KIND` shows them
    format
        how a row becomes what is learned; left out, rows tell it by their fields
    tokenizer
        a folder with a tokenizer.json, that file, a run or a hub id; left out, a token is a byte
    template
        one of viva's chat templates in place of the tokenizer's own
    columns
        names of a table's columns from the left, such as label,title,text, where its first line does not name them
    target
        a second file, whose lines are the translations of those of `path`
    context
        tokens that a model reads at once: how many documents are longer
    faults
        how many rows that cannot be used are shown whole; all are counted
    examples
        how many documents are shown
    html
        a file to write a page to, with all that is shown
    json
        print JSON in place of sentences
    """
    from viva.cli import rows, told
    from viva.text.preflight.check import check
    from viva.text.preflight.report import Part, Report
    from viva.text.preflight.tally import Tally

    reader, form = _tokenizer(tokenizer, template), _form(format, fields)
    tally = Tally(Part(path), reader, faults, examples)
    check(rows.corpus(path, columns, target), form, reader, tally)
    name = tokenizer or "none given, so a token is a byte"
    name += f"; the chat template is {template}" if template else ""
    part = tally.told(context)
    part.speaks = bool(reader.stops)
    if not part.speaks:
        part.notes.append("the tokenizer names no end token: no model can learn to stop by it")
    return told.tell(Report(name, [part]), html, json)


def _form(kind: str, fields: tuple[str, ...]):
    """The format with its fields by name."""
    from viva.base.choice import variant
    from viva.base.config import parse
    from viva.base.errors import Refusal
    from viva.text.rows.fields import FORMATS

    if fields and kind == "auto":
        fix = "name it, such as --format prompt"
        raise Refusal("a format must be named for its fields to be", ", ".join(fields), fix)
    return parse(variant(FORMATS, kind).Config, {}, fields, f"the format {kind}")


def _tokenizer(name: str | None, template: str | None):
    """The tokenizer of that name, or one whose tokens are bytes."""
    if name is None:
        from viva.text.tokens.learn import byte_bpe

        found = byte_bpe.Config(vocab_size=BYTES).learn(["."])
    else:
        from viva.api import load_tokenizer

        found = load_tokenizer(name).for_training
    return found if template is None else found.with_template(template)
