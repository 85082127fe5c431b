"""Pairs that are told no better than by chance."""

from typing import ClassVar

from pydantic import Field, PositiveInt

from viva.train.health import Later
from viva.train.health._history import History

PARTS = {"accuracy": "of those trained on", "valid_accuracy": "of those held out"}


class Config(Later):
    """`least`: the share told right, over the last `window` steps and at an evaluation, once there were `after` steps,
    whatever earlier ones said; a coin tells half, and 0.52 leaves room for its luck.
    """

    reads: ClassVar[tuple[str, ...]] = ("accuracy",)

    window: PositiveInt = 20
    least: float = Field(0.52, gt=0, lt=1)
    after: PositiveInt = 50

    @property
    def healthy(self) -> str:
        return f"at least {self.least:.0%} told right after {self.after} steps, held-out ones too"

    def trouble(self, history: History) -> str | None:
        for name, part in PARTS.items():
            window = self.window if name == "accuracy" else 1
            if name in history.fresh and (told := history.last(name, window)) < self.least:
                margin = history.last(name.replace("accuracy", "margin"), window)
                return (
                    f"{told:.1%} {part} are told right after {len(history['accuracy'])} steps, with a margin of "
                    f"{margin:.3g}: no better than chance (at least {self.least:.0%}); train for longer, raise "
                    "train.lr, take a larger model, or see whether the judges agree"
                )
        return None
