"""`viva tokenizer report`: tokenizers side by side on the same texts."""

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from viva.base.errors import Refusal
from viva.base.files import write_text


def report(
    *tokenizers: str,
    data: str,
    out: Path | None = None,
    field: str = "text",
    language: str | None = None,
    show: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = (),
    turns: int = 5,
) -> None:
    """Measure tokenizers on text: tokens a word, a character and a byte, what is unknown to them, how fast they are.

    Printed are tables of all texts, of each script, and of some languages. With --out, report.md holds the same,
    report.json every language, report.png a picture.

    Example: viva tokenizer report runs/quickstart gpt2/tokenizer.json --data texts.jsonl --out reports/mine

    Parameters
    ----------
    tokenizers
        files or folders with a tokenizer of any form, runs, or hub ids
    data
        a file, a folder or a glob of texts, as `viva tokenizer train` takes; one file a language, or rows that say it
    out
        the folder to write report.md, report.json and report.png into
    field
        where the text is in the rows of jsonl and parquet files
    language
        where the language is in those rows; else it is the field "lang", or the name of the file
    show
        the languages to print; else the 20 with the most text
    turns
        how many times every text is timed
    """
    from viva.api import load_tokenizer
    from viva.evaluate.tokens.page import page
    from viva.evaluate.tokens.plot import draw
    from viva.evaluate.tokens.report import measure
    from viva.evaluate.tokens.sample import by_language, chosen

    if not tokenizers or len(set(tokenizers)) < len(tokenizers):
        fix = "name one tokenizer or several, each by its file or folder"
        raise Refusal("tokenizers must be named, each once", " ".join(tokenizers) or "none", fix)
    loaded = {name: load_tokenizer(path) for name, path in zip(_names(tokenizers), tokenizers, strict=True)}
    texts = by_language(data, field, language)
    languages = chosen(texts, show)
    found = measure(loaded, texts, turns)
    text = page(found, languages)
    print(text, end="")
    if out is not None:
        write_text(out / "report.md", text)
        write_text(out / "report.json", json.dumps(found.json(), ensure_ascii=False, indent=1) + "\n")
        draw(found, languages, out / "report.png")


def _names(paths: tuple[str, ...]) -> list[str]:
    """The last part of each path, where these differ."""
    last = [Path(path).name for path in paths]
    return last if len(set(last)) == len(last) else list(paths)
