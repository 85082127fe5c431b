"""What may go wrong with a run, one trouble a file, told by what its steps measured: pure functions of the records.

`Config.trouble(history)` says in a sentence what is wrong as of the last record, None where nothing is: the figure, the
threshold, which is a field of the Config, and what to do. It is asked once every metric of `reads` has been recorded
`needs` times; of an evaluation's metrics, which few records hold, `history.fresh` says whether the last one does.
`Config.healthy` says in a few words what is hoped for.
"""

from typing import ClassVar

from pydantic import PositiveInt

from viva.base.config import Config
from viva.train.health._history import History


class Base(Config):
    """The base of each file's Config. `window`: steps over whose mean a metric is judged, so that no batch is
    judged alone.
    """

    reads: ClassVar[tuple[str, ...]]

    window: PositiveInt = 5

    @property
    def needs(self) -> int:
        """How many records of each metric it takes to judge."""
        return self.window

    @property
    def healthy(self) -> str:
        """What is hoped for, with the threshold."""
        raise NotImplementedError

    def ready(self, history: History) -> bool:
        """Whether enough is recorded to judge."""
        return all(len(history[name]) >= self.needs for name in self.reads)

    def trouble(self, history: History) -> str | None:
        """What is wrong, and what to do."""
        raise NotImplementedError


class Later(Base):
    """The base of those that are judged only once a run is `after` so many records old."""

    after: PositiveInt

    @property
    def needs(self) -> int:
        return max(self.after, self.window)
