"""`viva tokenizer add`: a vocabulary grown, in a tokenizer or in a model with it."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Tokens = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]


def add(path: str, *, tokens: Tokens = None, special: Tokens = None, out: Path) -> None:
    """Add tokens to a tokenizer or, with rows for them in embeddings and head, to a model.

    A model's new rows begin as the mean of the rows of the pieces that a token's text had; viva.json names the tokens.

    Example: viva tokenizer add runs/quickstart --tokens torch numpy --special "<|tool|>" --out models/grown

    Parameters
    ----------
    path
        a tokenizer, or the folder of a model or a run, or a hub id
    tokens
        tokens to be found in every text
    special
        tokens that only a template sets, never a person's text
    out
        a new folder
    """
    from viva.base.config import parse
    from viva.text.tokens import grow

    config = parse(grow.Config, {"tokens": tokens or (), "special": special or ()}, name="added tokens")
    added = _model(path, config, out) if is_model(path) else _tokenizer(path, config, out)
    for token, number in added.items():
        print(f"{number:>8}  {token!r}")
    print(f"{len(added)} tokens added, saved in {out}")


def is_model(path: str) -> bool:
    """Whether there is a model, and not a tokenizer alone."""
    from viva.text.tokens import read

    return not read.holds_one(path) or (Path(path) / "config.json").is_file()


def _model(path: str, config, out: Path) -> dict[str, int]:
    from viva.api import load

    grown = load(path).grown(config.tokens, config.special)
    grown.save(out)
    return grown.added


def _tokenizer(path: str, config, out: Path) -> dict[str, int]:
    from viva.api import load_tokenizer
    from viva.text.tokens.grow import grow

    grown = grow(load_tokenizer(path), config)
    grown.tokenizer.save(out)
    return grown.added
