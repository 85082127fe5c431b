"""`viva tokenizer`: learn one, and look at what it does."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from viva.cli import tokenizer_add, tokenizer_convert, tokenizer_diff, tokenizer_report
from viva.text.learn import byte_bpe

app = App(name="tokenizer", help="Train a tokenizer, or see how one splits a text.", help_format="plaintext")


@app.command
def train(
    path: str,
    *,
    out: Path,
    field: str = "text",
    config: Annotated[byte_bpe.Config, Parameter(name="*")] = byte_bpe.Config(),  # noqa: B008
) -> None:
    """Learn a byte-level BPE tokenizer from files.

    Example: viva tokenizer train docs/ --out tokenizers/mine --vocab-size 8192

    Parameters
    ----------
    path
        a file, a folder or a glob of txt, md, py, jsonl (also .gz) or parquet files
    out
        the folder to write tokenizer.json and tokenizer_config.json into
    field
        where the text is in the rows of jsonl and parquet files
    """
    from viva.text.corpus import files
    from viva.text.fields import text

    learned = byte_bpe.train((text(row, field) for row in files.Config(path=path).rows()), config)
    learned.save(out)
    print(f"{learned.vocab_size} tokens, saved in {out}")


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


for verb in (tokenizer_diff.diff, tokenizer_convert.convert, tokenizer_add.add, tokenizer_report.report):
    app.command(verb)
