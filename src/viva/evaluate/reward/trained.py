"""The pairs that a reward model was trained on, by the recipe of its run, where their data can still be read."""

from pathlib import Path

from viva.base.config import kind, read
from viva.base.errors import Refusal, notices
from viva.evaluate.reward import scored
from viva.evaluate.reward.scored import Pairs
from viva.text.rows.fields import Format as AnyFormat
from viva.text.rows.format.preference import Config as Format
from viva.text.rows.split import split
from viva.text.tokens.tokenizer import Tokenizer
from viva.train import sources
from viva.train.recipe import FILE, Recipe


def trained_on(run: Path, form: Format, tokenizer: Tokenizer) -> Pairs | Refusal:
    """Those in the data of the run in a folder that its filters leave and that it does not hold out, laid out as `form`
    lays out others, so that equal pairs have equal tokens; or why that is not known.
    """
    try:
        with notices(lambda said: None):  # what the run has said already
            return _trained_on(read(Recipe, run / FILE), run, form, tokenizer)
    except Refusal as refusal:
        return refusal


def _trained_on(recipe: Recipe, run: Path, form: Format, tokenizer: Tokenizer) -> Pairs:
    recipe = sources.sifted(recipe, run, lambda: tokenizer)
    train, _ = sources.reads(recipe, sources.settled(recipe, recipe.data, None))
    found = Pairs([], [], [])
    for part in train.parts:
        rows = split(part.data.rows(), train.side, train.valid)
        pairs, _ = scored.read(rows, _laid_out(part.format, form), tokenizer, drop=True)
        found = Pairs(found.where + pairs.where, found.sides + pairs.sides, found.wholes + pairs.wholes)
    return found


def _laid_out(own: AnyFormat, form: Format) -> Format:
    """The fields of one format, laid out as by the other."""
    if kind(own) != "preference":
        must = "the rows that a reward model was trained on must be pairs of answers"
        raise Refusal(must, f"the format {kind(own)}", "look at the recipe of its run")
    return own.model_copy(update={"plain": form.plain, "within": form.within})
