"""What a run reads: the rows that its filters leave, the parts of a mixture with their formats, their documents."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from viva.base.errors import Refusal, notices
from viva.text.cache import documents
from viva.text.cache.documents import Documents
from viva.text.cache.joined import Joined
from viva.text.rows.augmented import Augmented
from viva.text.rows.corpus import mixture
from viva.text.rows.corpus.mixture import Part
from viva.text.rows.fields import Format
from viva.text.rows.row import Corpus
from viva.text.rows.sift import Filter, Source, sift
from viva.text.rows.split import Part as Side
from viva.text.rows.split import split
from viva.text.tokens.tokenizer import Tokenizer
from viva.train import checkpoint
from viva.train.data import Share
from viva.train.recipe import Recipe

TRAINING, HELD_OUT = "the training data", "the held-out data"
TOKENS = "tokens"  # the folder, in that of the run, of what filters decided and of the token caches

Known = Callable[[], Tokenizer] | None  # the run's tokenizer; None where it is to be learned from the rows first


def sifted(recipe: Recipe, out: Path, tokenizer: Known) -> Recipe:
    """The recipe, with the rows that its filters leave: of its data and, by those of them that look for what the run
    cannot read, of what is held out.
    """
    if not recipe.filter:
        return recipe
    filters = [_located(each) for each in recipe.filter]
    data = _left(recipe.data, recipe.format, filters, out, tokenizer)
    reading = [each for each in filters if each.reads]
    if recipe.held_out is None or not reading:
        return recipe.model_copy(update={"data": data})
    held_out = _left(recipe.held_out, _format_held_out(recipe, data), reading, out, tokenizer)
    return recipe.model_copy(update={"data": data, "held_out": held_out})


def _left(corpus: Corpus, form: Format, filters: Sequence[Filter], out: Path, tokenizer: Known) -> Corpus:
    """The corpus, with the rows that filters leave."""
    parts = parts_of(corpus)
    kept = sift([Source(part.data, part.format or form, tokenizer) for part in parts], filters, out / TOKENS)
    if not isinstance(corpus, mixture.Config):
        return kept[0]
    parts = tuple(part.model_copy(update={"data": rows}) for part, rows in zip(parts, kept, strict=True))
    return corpus.model_copy(update={"parts": parts})


def _format_held_out(recipe: Recipe, data: Corpus) -> Format:
    """The format of rows to hold out, of which those of a mixture may have others: that of the data, settled by it."""
    if isinstance(recipe.held_out, mixture.Config):
        return recipe.format
    first = parts_of(data)[0]
    with notices(lambda notice: None):  # it is said when the run settles its own
        return (first.format or recipe.format).settled(first.data)


def _located(each: Filter) -> Filter:
    """A filter that may name a tokenizer as a recipe may: by a run, too."""
    name = getattr(each, "tokenizer", None)
    return each if name is None else each.model_copy(update={"tokenizer": str(place_of(name))})


def place_of(tokenizer: str) -> str | Path:
    """Where a tokenizer lies that is named: in that file or folder, or in a run's checkpoint."""
    return checkpoint.located(tokenizer) if Path(tokenizer).is_dir() else tokenizer


def parts_of(corpus: Corpus) -> tuple[Part, ...]:
    """The parts of a mixture; any other corpus is one by itself."""
    return corpus.parts if isinstance(corpus, mixture.Config) else (Part.model_construct(data=corpus),)


def settled(recipe: Recipe, corpus: Corpus, known: tuple[str, ...] | None) -> list[Part]:
    """The parts of a corpus, each with the format of its rows; they must have the same classes, if any."""
    found = [
        part.model_copy(update={"format": (part.format or recipe.format).settled(part.data, known)})
        for part in parts_of(corpus)
    ]
    for part in found[1:]:
        if (first := found[0].format.classes()) != part.format.classes():
            must = "the parts of a mixture must have the same classes"
            fix = "name them all by `labels` in the recipe's format"
            raise Refusal(must, f"{first} and {part.format.classes()}", fix)
    return found


@dataclass(frozen=True)
class Reads:
    """What is read of the parts of a corpus: all rows, or those on one `side` of the split by the share `valid`."""

    name: str
    parts: list[Part]
    side: Side
    valid: float

    def built(self, tokens: Tokenizer, out: Path) -> list[Documents]:
        """The documents, part by part."""
        folder = out / TOKENS
        return [documents.build(part.data, part.format, tokens, folder, self.side, self.valid) for part in self.parts]

    def named(self, number: int, tokens: Tokenizer) -> str:
        """A document by its row's file:line, for which the rows are read again up to there: caches keep no places."""
        made = (
            row.where
            for part in self.parts
            for row in split(part.data.rows(), self.side, self.valid)
            if part.format.example(row, tokens) is not None
        )
        return f"{next(islice(made, number, None))}, a document of {self.name},"


def reads(recipe: Recipe, parts: list[Part]) -> tuple[Reads, Reads | None]:
    """What is trained on and, if the recipe holds any rows out, these."""
    if recipe.held_out is not None:
        held_out = _held_out(recipe, parts[0].format)
        return _augmented(recipe, parts, "all"), Reads(HELD_OUT, held_out, "all", recipe.valid)
    held_out = Reads(HELD_OUT, parts, "valid", recipe.valid) if recipe.valid else None
    return _augmented(recipe, parts, "train"), held_out


def _augmented(recipe: Recipe, parts: list[Part], side: Side) -> Reads:
    """What is trained on, with the copies that the recipe adds to these rows alone."""
    if not recipe.augment:
        return Reads(TRAINING, parts, side, recipe.valid)
    more = [Augmented(part.data, recipe.augment, side, recipe.valid, recipe.seed) for part in parts]
    parts = [part.model_copy(update={"data": data}) for part, data in zip(parts, more, strict=True)]
    return Reads(TRAINING, parts, "all", recipe.valid)


def _held_out(recipe: Recipe, form: Format) -> list[Part]:
    """Rows of their own to hold out: of the data's format or, in a mixture, of its own."""
    if isinstance(recipe.held_out, mixture.Config):
        return settled(recipe, recipe.held_out, form.classes())
    return [Part.model_construct(data=recipe.held_out, format=form)]


def joined(found: list[Documents]) -> Documents | Joined:
    """The documents of all parts."""
    return found[0] if len(found) == 1 else Joined(found)


def shares(parts: list[Part], found: list[Documents]) -> tuple[Share, ...]:
    """What each part is of a mixture, by its weight; none where it has none."""
    if parts[0].weight is None:
        return ()
    return tuple(Share(part.data.label, len(docs), part.weight) for part, docs in zip(parts, found, strict=True))
