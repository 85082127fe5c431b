"""How alike two texts are, as a model with the head `similar` tells it."""

from collections.abc import Sequence

from viva.infer.together import read_examples
from viva.model.whole import Whole
from viva.text.rows.format import pairs
from viva.text.rows.row import Row
from viva.text.tokens.characters import couples
from viva.text.tokens.tokenizer import Tokenizer


def similarities(model: Whole, tokenizer: Tokenizer, first: Sequence[str], second: Sequence[str]) -> list[float]:
    """The cosine of each two texts' vectors, each read alone as the format `pairs` has it."""
    form = pairs.Config(first="first", second="second")
    rows = [Row({"first": a, "second": b}, f"text {n}") for n, (a, b) in enumerate(couples(first, second))]
    found = read_examples(model, form.examples(rows, tokenizer), apart=True)
    return [cosine for cosines in found for cosine in cosines.tolist()]
