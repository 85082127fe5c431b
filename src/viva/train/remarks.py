"""What is said before the first step, by a run and by `--dry-run`: what was read of both parts of the data, what became
of it, and which settings may not be what was meant.
"""

from viva.text.preflight import classes
from viva.train.data import Data
from viva.train.job import Job, State
from viva.train.loop import length
from viva.train.start import Parts


def remarks(parts: Parts, job: Job, state: State) -> list[str]:
    """In sentences."""
    both = {name: data for name, data in (("training", parts.train), ("held out", parts.valid)) if data is not None}
    read = [sentence for name, data in both.items() for sentence in _read(name, data)]
    notes = dict.fromkeys(note for data in both.values() for note in data.documents.notes)  # once of one corpus
    return [*read, *notes, *parts.train.repeats(), *_classes(parts), *_warmup(job, state)]


def _read(name: str, data: Data) -> list[str]:
    """The documents of one part, and what of them is cut or left out."""
    c = data.documents.counts
    filtered = f"{c.dropped:,} left out by filters, " if c.dropped else ""
    elsewhere = f"{c.elsewhere:,} in the other part, " if c.elsewhere else ""
    said = (
        f"{c.documents:,} documents of {c.rows:,} rows ({filtered}{elsewhere}{c.empty:,} empty and left out), "
        f"{c.tokens:,} tokens, {c.learned:,} of them learned as text, {data.rows:,} rows of a batch an epoch"
    )
    return [f"{name}: {sentence}" for sentence in (said, *data.mixed(), *data.passed_over())]


def _classes(parts: Parts) -> list[str]:
    """The classes with the number of rows, or of words, that each has to learn from, and what of them is doubtful."""
    names = parts.form.classes()
    if names is None:
        return []
    counts = dict(zip(names, parts.train.documents.tally_classes(len(names)).tolist(), strict=True))
    return [classes.told(counts), *classes.doubts(counts)]


def _warmup(job: Job, state: State) -> list[str]:
    """Whether the rate never reaches its peak."""
    steps, warmup = state.steps or length(job.train, job.data), getattr(job.train.schedule, "warmup", 0)
    if steps is None or warmup <= steps:
        return []
    return [f"the warmup of {warmup} steps is longer than the run of {steps}: the rate never reaches train.lr"]
