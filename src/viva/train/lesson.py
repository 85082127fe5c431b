"""What a batch asks of a model, in words: its first document as the objective made it, and what is to be said of it."""

from collections.abc import Iterator

from viva.model.head import Vocabulary
from viva.model.whole import Whole
from viva.text.preflight.report import LEARNED, NOTE, READ, Piece, Shown
from viva.text.preflight.shown import MOST, rest, stretches
from viva.text.rows.fields import Format
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.batch import Batch
from viva.train.loss import IGNORE


def lesson(batch: Batch, model: Whole, form: Format, tokenizer: Tokenizer) -> Shown:
    """The first document of a batch: what is read, and where something is learned, what."""
    says = _Says(tokenizer, form.classes(), isinstance(model.head, Vocabulary))
    size = batch.lengths[0][0]
    if batch.spoken:  # the first of the answers alone
        size = int((batch.targets[0] != IGNORE).nonzero()[0]) + batch.spoken[0]
    ids = batch.ids[0, :size].tolist()
    pieces = []
    if batch.source is not None:
        source = batch.source.ids[0, : batch.source.lengths[0][0]].tolist()
        pieces += [Piece(tokenizer.decode(source[:MOST]), READ), *rest(len(source))]
        pieces.append(Piece("\n-- from which this is to be made --\n", NOTE))
    if batch.targets.shape == batch.ids.shape:
        aims = batch.targets[0, :size].tolist()
        pieces += [*(_next(ids, aims, tokenizer) if _is_next(ids, aims) else _in_place(ids, aims, says)), *rest(size)]
    else:
        compared = batch.answers is not None
        answer = "preferred to the next" if compared else says.whole(batch.targets[0].tolist())
        pieces += [Piece(tokenizer.decode(ids[:MOST]), READ), *rest(size), Piece(f"\n-- {answer} --", NOTE)]
    title = f"the first of {sum(map(len, batch.lengths)):,} documents of the first batch, as the objective makes it"
    predicted = batch.count if batch.answers is None else int((batch.targets != IGNORE).sum())
    return Shown(f"{title}: {size:,} tokens; of the batch's {batch.tokens:,}, {predicted:,} are predicted", pieces)


class _Says:
    """What targets mean: words, classes by name, or numbers."""

    def __init__(self, tokenizer: Tokenizer, names: tuple[str, ...] | None, words: bool):
        self.tokenizer, self.names, self.words = tokenizer, names, words

    def tokens(self, aims: list[int]) -> str:
        """Of consecutive tokens."""
        if self.words:
            return self.tokenizer.decode(aims)
        return " ".join(str(aim) if self.names is None else self.names[aim] for aim in aims)

    def whole(self, aim: float | list[int]) -> str:
        """Of a document."""
        if isinstance(aim, list):
            return f"the answer: tokens {aim[0]} to {aim[-1]}"
        if self.names is not None:
            return self.names[int(aim)]
        return f"{aim:g}" if isinstance(aim, float) else f"belongs with text {aim} of the batch"


def _is_next(ids: list[int], aims: list[int]) -> bool:
    """Whether each target is the token that follows."""
    asked = [place for place, aim in enumerate(aims) if aim != IGNORE]
    return bool(asked) and all(place + 1 == len(ids) or aims[place] == ids[place + 1] for place in asked)


def _next(ids: list[int], aims: list[int], tokenizer: Tokenizer) -> Iterator[Piece]:
    """The document with its tokens to be predicted marked; the last may stand in the targets alone."""
    last = [aims[-1]] if aims[-1] != IGNORE else []
    ids, learned = [*ids, *last], [False, *(aim != IGNORE for aim in aims[: len(ids) - 1 + len(last)])]
    for begin, end, is_learned in stretches(learned[:MOST]):
        yield Piece(tokenizer.decode(ids[begin:end]), LEARNED if is_learned else READ)


def _in_place(ids: list[int], aims: list[int], says: _Says) -> Iterator[Piece]:
    """What is read and, behind what is asked about, the answer."""
    for begin, end, asked in stretches([aim != IGNORE for aim in aims[:MOST]]):
        steps = [(begin, end)] if says.words or not asked else [(at, at + 1) for at in range(begin, end)]
        for start, stop in steps:
            yield Piece(says.tokenizer.decode(ids[start:stop]), LEARNED if asked else READ)
            if asked:
                yield Piece(f"→{says.tokens(aims[start:stop])} ", NOTE)
