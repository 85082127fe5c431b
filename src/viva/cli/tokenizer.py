"""`viva tokenizer`: learn one, and look at what it does."""

import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from viva.base.choice import names, variant
from viva.base.errors import Notice, Refusal, nearest
from viva.cli import rows, tokenizer_add, tokenizer_convert, tokenizer_diff, tokenizer_report

if TYPE_CHECKING:
    from viva.text.rows.row import Corpus

ALGORITHMS = "viva.text.tokens.learn"
DATA_SET = re.compile(r"[\w.-]+/[\w.-]+")  # a name on the hub

app = App(name="tokenizer", help="Train a tokenizer, or see how one splits a text.", help_format="plaintext")


@app.command(help_flags=[])
def train(
    *words: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)], algorithm: str = "byte-bpe"
) -> None:
    """Learn a tokenizer by an algorithm, whose fields are the options of the verb."""
    if (kind := algorithm.replace("-", "_")) not in names(ALGORITHMS):
        known = [name.replace("_", "-") for name in names(ALGORITHMS)]
        raise Refusal("--algorithm must be a known one", repr(algorithm), nearest(algorithm, known))
    config = variant(ALGORITHMS, kind).Config

    def learn(
        path: str,
        *,
        out: Path,
        field: str = "text",
        columns: str | None = None,
        algorithm: str = algorithm,
        config: Annotated[config, Parameter(name="*")] = config(),  # noqa: B008
    ) -> None:
        """Learn a tokenizer from text; the options that `--algorithm` has of its own are shown with it.

        Example: viva tokenizer train docs/ --out tokenizers/mine --vocab-size 8192

        Example: viva tokenizer train --algorithm unigram --help

        Parameters
        ----------
        path
            a file, a folder or a glob of txt, md, py, json, jsonl (also .gz) or parquet files, or of csv and tsv files,
            or a data set of the hub
        out
            the folder to write tokenizer.json and tokenizer_config.json into
        field
            where the text is in the rows of jsonl and parquet files, of tables and of data sets
        columns
            names of a table's columns from the left, such as text,label, where its first line does not name them
        algorithm
            byte-bpe, bpe, wordpiece, unigram, word or char
        """
        from viva.text.rows.fields import text
        from viva.text.tokens.reread import Reread

        corpus = _corpus(path, columns)
        for note in corpus.notes():
            warnings.warn(Notice(note), stacklevel=2)
        learned = config.learn(Reread(lambda: _told(text(row, field) for row in corpus.rows())))
        learned.save(out)
        print(f"{learned.vocab_size} tokens, saved in {out}")

    inner = App(
        name="viva tokenizer train",
        default_command=learn,
        help_format="plaintext",
        version_flags=[],
        result_action="return_value",
        print_error=False,
        exit_on_error=False,
    )
    return inner(words)


def _corpus(path: str, columns: str | None) -> "Corpus":
    """The files at `path` or, where there are none and it is the name of one, a data set of the hub."""
    from viva.text.rows.corpus import hub

    if DATA_SET.fullmatch(path) and not Path(path).exists():
        return hub.Config(name=path)
    return rows.corpus(path, columns)


def _told(texts: Iterable[str]) -> Iterator[str]:
    """The texts; how much of them was read is shown on a terminal."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.completed:,} characters read"), TimeElapsedColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=None)
        for text in texts:
            progress.advance(task, len(text))
            yield text


@app.command
def encode(tokenizer: str, text: str) -> None:
    """Show the tokens of a text, one a line: the id, and the text it stands for.

    Example: viva tokenizer encode runs/quickstart "def add(a, b):"

    Parameters
    ----------
    tokenizer
        a folder with a tokenizer.json, that file, or a hub id
    text
        the text to split; special tokens in it are ordinary text
    """
    from viva.api import load_tokenizer

    loaded = load_tokenizer(tokenizer)
    ids = loaded.encode(text)
    for number in ids:
        print(f"{number:>8}  {loaded.decode([number])!r}")
    print(f"{len(ids)} tokens for {len(text.encode())} bytes")


@app.command
def template(tokenizer: str, name: str, *, out: Path) -> None:
    """Give a tokenizer one of viva's chat templates, and the special tokens that it needs; no model grows by them.

    Example: viva tokenizer template tokenizers/mine llama3 --out tokenizers/mine-llama3

    Parameters
    ----------
    tokenizer
        a folder with a tokenizer.json, that file, or a hub id
    name
        alpaca, chatml, gemma, llama2, llama3, llama3_1, mistral, qwen2_5, qwen3 or vicuna
    out
        the folder to write tokenizer.json and tokenizer_config.json into
    """
    from viva.api import load_tokenizer

    before = load_tokenizer(tokenizer)
    after = before.with_template(name)
    after.save(out)
    new = [token for token in after.specials if token not in before.specials]
    if new and tokenizer_add.is_model(tokenizer):
        grow = f"`viva tokenizer add {tokenizer} --special {' '.join(map(repr, new))}` grows it"
        warnings.warn(Notice(f"the model in {tokenizer} has no rows for the new tokens: {grow}"), stacklevel=2)
    print(f"{name}, {len(new)} new tokens {' '.join(new)}".rstrip() + f", saved in {out}")


for verb in (tokenizer_diff.diff, tokenizer_convert.convert, tokenizer_add.add, tokenizer_report.report):
    app.command(verb)
