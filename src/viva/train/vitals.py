"""A run's health, watched while it runs and read from its records afterwards: each trouble is said once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import create_model

from viva.base.choice import names, variant
from viva.base.config import Config
from viva.train.health import Base
from viva.train.health._history import History

PACKAGE, CLEAR = "viva.train.health", "none"
KINDS = {name: variant(PACKAGE, name).Config for name in names(PACKAGE)}


class Stop(Config):
    """`stop`: a trouble ends the run, after a checkpoint; the same command goes on past it."""

    stop: bool = False


Health = create_model(
    "Health",
    __base__=Stop,
    __doc__="The thresholds of all troubles, in a section for each. A run is watched for those that its objective\n"
    "names, and each is judged once what it reads has been measured often enough.",
    **{name: (kind, kind()) for name, kind in KINDS.items()},
)


@dataclass(frozen=True)
class Trouble:
    """What went wrong at a step, by its `name` in `train.health`, and what to do about it."""

    step: int
    name: str
    sentence: str

    def __str__(self) -> str:
        return f"trouble at step {self.step} ({self.name}): {self.sentence}"


class Vitals:
    """What is seen of a run that may have the troubles of these `names`, its earlier `records` first."""

    def __init__(self, health: Health, names: Sequence[str], records: Iterable[dict[str, Any]] = ()):
        self.signs: dict[str, Base] = {name: getattr(health, name) for name in names}
        self.history, self.troubles = History(), dict[str, Trouble]()
        for record in records:
            self.see(record)

    def see(self, record: dict[str, Any]) -> list[Trouble]:
        """Take a record; the troubles of which it is the first sign."""
        self.history.take(record)
        told = {name: sign.trouble(self.history) for name, sign in self.signs.items() if self._may_tell(name)}
        found = {name: Trouble(record["step"], name, sentence) for name, sentence in told.items() if sentence}
        self.troubles |= found
        return list(found.values())

    def _may_tell(self, name: str) -> bool:
        return name not in self.troubles and self.signs[name].ready(self.history)

    def measured(self, name: str) -> bool:
        """Whether all that a trouble is told by has been measured at all."""
        return all(self.history[metric] for metric in self.signs[name].reads)

    def healthy(self) -> str:
        """What is hoped for, of all that is measured."""
        hoped = ", ".join(sign.healthy for name, sign in self.signs.items() if self.measured(name))
        return f"healthy would be: {hoped}"

    def verdict(self, name: str) -> str:
        """What became of one trouble."""
        if name in self.troubles:
            return f"trouble at step {self.troubles[name].step}"
        if not self.measured(name):
            return "not measured"
        sign = self.signs[name]
        return CLEAR if sign.ready(self.history) else f"not judged before {sign.needs} steps"

    def latest(self, name: str) -> str:
        """The means of what a trouble is told by, over its last window."""
        sign = self.signs[name]
        known = [metric for metric in sign.reads if self.history[metric]]
        return ", ".join(f"{metric} {self.history.last(metric, sign.window):.4g}" for metric in known) or "-"

    def closing(self) -> list[str]:
        """All troubles again, or of what there was none, and what was too short to tell."""
        told = [str(trouble) for trouble in self.troubles.values()]
        clear = [name for name in self.signs if self.verdict(name) == CLEAR]
        early = [name for name in self.signs if self.measured(name) and not self.signs[name].ready(self.history)]
        told += [f"no trouble seen of {', '.join(clear)}"] if clear and not told else []
        return told + ([f"too short to tell: {', '.join(early)}"] if early else [])
