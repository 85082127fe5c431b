"""What a user sees of a run: a progress bar in a terminal, plain lines elsewhere, the metrics on disk."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from viva.base.errors import Refusal
from viva.train import metrics
from viva.train.job import State

EVERY_S = 10.0  # between two lines where there is no terminal


class Report:
    """Takes the records of a run; as a context it shows them while it lasts and draws the plot at its end.

    flops: floating-point operations of a token's forward and backward; peak: of a matrix product here, in GFLOP/s.
    """

    def __init__(self, run: Path, flops: float, peak: float, tensorboard: bool = False):
        self.run, self.flops, self.peak = run, flops, peak
        self.console = Console(stderr=True, soft_wrap=True)
        self.bar = Progress(
            TextColumn("step {task.completed}/{task.total}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=self.console,
        )
        self.board = _board(run) if tensorboard else None
        self.task, self.spoke, self.began = None, 0.0, None

    def __enter__(self) -> "Report":
        if self.console.is_terminal:
            self.bar.start()
            self.task = self.bar.add_task("", total=None)
        return self

    def __exit__(self, *_) -> None:
        self.bar.stop()
        if self.board:
            self.board.close()
        if metrics.read(self.run):
            metrics.draw(self.run)

    def say(self, *sentences: str) -> None:
        """Print sentences, above the bar where there is one."""
        for sentence in sentences:
            self.console.print(sentence, markup=False, highlight=False)

    def log(self, state: State, record: dict[str, Any]) -> None:
        """Take what a step measured: to metrics.jsonl, to TensorBoard, to the user."""
        rate = record["tokens"] / record["seconds"]
        record = {**record, "tokens_per_s": rate, "peak_share": rate * self.flops / self.peak / 1e9}
        if "sampling_seconds" in record:
            record["sampling_share"] = record["sampling_seconds"] / record["seconds"]
        metrics.append(self.run, record)
        if self.board:
            _to_board(self.board, record)
        if self.task is not None:
            self.bar.update(self.task, completed=state.step, total=state.steps, description=line(record))
        self._speak(state, record)

    def _speak(self, state: State, record: dict[str, Any]) -> None:
        """A plain line now and then, and at each evaluation."""
        now = time.monotonic()
        self.began = self.began or (now - record["seconds"], state.step - 1)
        held_out = "valid_loss" in record
        if not held_out and (self.task is not None or now - self.spoke < EVERY_S):
            return
        self.spoke = now
        left = remaining(state, now - self.began[0], state.step - self.began[1])
        self.say(f"step {state.step}/{state.steps or '?'}  {line(record)}  {left}")


def line(record: dict[str, Any]) -> str:
    """A record in a line."""
    parts = [f"loss {record['loss']:z.3f}"]
    if "valid_loss" in record:
        parts.append(f"held out {record['valid_loss']:z.3f}")
    if "valid_bits_per_byte" in record:
        parts.append(f"({record['valid_bits_per_byte']:z.3f} bits a byte)")
    parts += [f"{record['tokens_per_s']:,.0f} tokens/s", f"{record['peak_share']:.0%} of the matrix peak"]
    return "  ".join(parts + ([record["skipped"]] if "skipped" in record else []))


def remaining(state: State, seconds: float, steps: int) -> str:
    """The time to the end at the pace of the last `steps` steps, which took `seconds`."""
    if state.steps is None:
        return "measuring the pace"
    return f"{timedelta(seconds=round((state.steps - state.step) * seconds / steps))} left"


def _board(run: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        fix = "pip install 'viva[tensorboard]', or leave train.tensorboard out"
        raise Refusal("train.tensorboard needs TensorBoard", f"it is not installed ({error})", fix) from None
    return SummaryWriter(run / "tensorboard")


def _to_board(board: Any, record: dict[str, Any]) -> None:
    for name, value in record.items():
        if isinstance(value, float):
            board.add_scalar(name, value, record["step"])
