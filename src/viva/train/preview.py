"""`--dry-run`: what a run would read, learn and cost, before it takes any of it."""

import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from viva.text.tokenizer import Tokenizer
from viva.train import start
from viva.train.cost import cost
from viva.train.data import Data
from viva.train.recipe import Recipe
from viva.train.remarks import remarks
from viva.train.run import assembled

EXAMPLES, SHOWN = 3, 1500  # how many documents are shown, and how many tokens of each


def show(recipe: Recipe) -> None:
    """Print examples with what is learned, the counts, whether ends are learned, memory and time. Nothing is kept."""
    console = Console(soft_wrap=True, highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        parts = start.parts(recipe, Path(folder))
        for number in range(min(EXAMPLES, len(parts.train.documents))):
            console.print(example(parts.train, number, parts.tokenizer), end="\n\n")
        job, state = assembled(recipe, Path(folder), parts)
        for sentence in [
            *remarks(parts, job, state),
            *([ends(parts.train, parts.tokenizer)] if parts.train.reading.every else []),
            *cost(job),
        ]:
            console.print(sentence, markup=False)


def example(data: Data, number: int, tokenizer: Tokenizer) -> Text:
    """A document as text: what is learned green, what is only read dim."""
    ids, mask = data.documents[number]
    shown = Text(f"document {number}, {len(ids)} tokens, {int(mask.sum())} learned (green)\n", style="bold")
    for begin, end, learned in stretches(mask[:SHOWN]):
        shown.append(tokenizer.decode(ids[begin:end].tolist()), style="green" if learned else "dim")
    return shown.append(f" ... {len(ids) - SHOWN} more tokens" if len(ids) > SHOWN else "", style="bold")


def stretches(mask) -> list[tuple[int, int, bool]]:
    """(begin, end, value) of each run of equal values.

    >>> stretches([True, True, False])
    [(0, 2, True), (2, 3, False)]
    """
    borders = [i for i in range(1, len(mask)) if mask[i] != mask[i - 1]]
    return [(a, b, bool(mask[a])) for a, b in zip([0, *borders], [*borders, len(mask)], strict=True)]


def ends(data: Data, tokenizer: Tokenizer) -> str:
    """Whether a model can learn to stop: the share of documents in which an end token is learned last.

    Trailing text that a template puts behind the last end token is not learned, and so not counted.
    """
    documents = (data.documents[number] for number in range(len(data.documents)))
    last = [int(ids[mask][-1]) for ids, mask in documents if mask.any()]
    learned = sum(token in tokenizer.stops for token in last)
    said = f"an end token is the last thing learned in {learned:,} of {len(last):,} documents"
    return said if learned else f"WARNING: {said}; the model will not learn to stop"
