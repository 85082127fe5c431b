"""How far many replies have come, and how fast they are written."""

from viva.base.progress import Progress
from viva.infer.engine.engine import Delta


class Bar(Progress):
    """As a context, a bar of `total` replies, of which `done` ended before, with the tokens a second since it began."""

    def __init__(self, what: str, total: int, done: int = 0, shown: bool = True):
        super().__init__(what, total, shown)
        self.done, self.tokens = done, 0

    def take(self, delta: Delta) -> None:
        """Count a step of a reply."""
        self.tokens += delta.picked is not None
        self.done += delta.finish is not None
        self.say(f"{self.done:,} of {self.total:,}, {self.speed:.1f} tokens/s", self.done)

    @property
    def speed(self) -> float:
        """Tokens a second."""
        return self.tokens / max(self.seconds, 1e-9)
