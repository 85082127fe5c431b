"""What is told of data and of a run before a step is spent: plain data, which a terminal, a page and JSON all show."""

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from viva.base.errors import Refusal

LEARNED, READ, NOTE = "learned", "read", "note"  # of a piece: to be learned, only read, or not of the document


class Piece(NamedTuple):
    """Some text of a document, and what it is: LEARNED, READ, or a NOTE that says something about it."""

    text: str
    mark: str


@dataclass(frozen=True)
class Shown:
    """A document, or what an objective makes of one, under a title."""

    title: str
    pieces: list[Piece]


@dataclass(frozen=True)
class Fault:
    """What cannot be used, and where it stands ("file:line"): the parts of a Refusal."""

    where: str
    must: str
    found: str
    fix: str

    @classmethod
    def of(cls, refusal: Refusal, where: str = "") -> "Fault":
        return cls(where, refusal.must, refusal.found, refusal.fix)

    def of_a_row(self, parts: "list[Part]") -> bool:
        """Whether it is one of those found in the rows."""
        return any((self.must, self.found) == (fault.must, fault.found) for part in parts for fault in part.faults)

    def __str__(self) -> str:
        sentence = str(Refusal(self.must, self.found, self.fix))
        return sentence if self.where in sentence else f"{self.where}: {sentence}"


@dataclass
class Part:
    """What was read of one corpus, and what became of it.

    rows = refused + dropped by each filter + elsewhere (of the other part of the split) + empty + documents.
    `duplicates` are documents equal to one before: in ids, in what is learned, in classes. `tokens` and `learned` count
    as in `documents.Counts`; in `masked` documents something is learned, in `ends` of them an end token last, as must
    be where a model `speaks`. `classes` counts the rows, or the words, of each class.
    `lengths` are quantiles in tokens; `longer` documents than `context` are split, dropped or refused, as `long` says.
    `kinds` counts the `faults`, of which the first are kept whole.
    """

    name: str
    format: str = ""
    rows: int = 0
    refused: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    elsewhere: int = 0
    empty: int = 0
    duplicates: int = 0
    documents: int = 0
    tokens: int = 0
    learned: int = 0
    speaks: bool = True
    masked: int = 0
    ends: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    context: int | None = None
    longer: int = 0
    long: str | None = None
    faults: list[Fault] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    examples: list[Shown] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """What must not stay as it is, in sentences."""
        said = (
            [f"{self.refused:,} of {self.rows:,} rows are refused, and a run would stop at the first"]
            if self.refused
            else []
        )
        said += ["there is no document to learn from"] if not self.documents else []
        if self.speaks and self.masked and not self.ends:
            said.append(
                f"in none of {self.masked:,} documents is an end token the last thing learned: a model will not learn "
                "to stop"
            )
        return [f"{self.name}: {sentence}" for sentence in said]


@dataclass(frozen=True)
class Cost:
    """Bytes of `memory` by what takes them, of those `available`. A step takes `least` seconds at the machine's `peak`
    (GFLOP/s), and its passes were measured to take `seconds`; None where it does not fit, or would take too long.
    """

    memory: dict[str, int]
    available: int
    flops_a_token: float
    peak: float
    least: float
    seconds: float | None


@dataclass(frozen=True)
class Run(Cost):
    """What a run would do and cost; nothing of it was done. `steps` is None where the run is to last `minutes`."""

    model: str
    parameters: int
    trained: int
    precision: str
    device: str
    steps: int | None
    minutes: float | None
    steps_an_epoch: float
    tokens_an_epoch: int
    tokens_a_step: int
    batch: list[Shown]
    notes: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """What must not stay as it is, in sentences."""
        needed = sum(self.memory.values())
        if needed <= self.available:
            return []
        gib = 2**30
        said = f"{needed / gib:.2f} GiB of memory are needed at least, of {self.available / gib:.1f} there are"
        return [f"{said}: lower train.batch or the model"]


@dataclass
class Report:
    """All that was found. `refused` is what would stop a run at its start, beside the faults of rows."""

    tokenizer: str
    parts: list[Part]
    refused: list[Fault] = field(default_factory=list)
    run: Run | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """Everything that must not stay as it is; none where a run may begin."""
        said = [sentence for part in self.parts for sentence in part.wrong]
        return said + [str(fault) for fault in self.refused] + (self.run.wrong if self.run else [])

    def plain(self) -> dict[str, Any]:
        """As JSON has it, with what is wrong."""
        return {"wrong": self.wrong, **asdict(self)}
