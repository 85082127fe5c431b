"""A request to stop (SIGTERM, or Ctrl-C) that is noted, so that the step in progress can be finished and saved."""

import signal
import sys
import threading


class Asked:
    """False until the first signal inside the `with` block; a second one acts as if nobody listened."""

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self):
        self.asked, self._before = False, {}

    def __bool__(self) -> bool:
        return self.asked

    def __enter__(self) -> "Asked":
        if threading.current_thread() is threading.main_thread():  # Python hears signals there alone
            self._before = {number: signal.signal(number, self._hear) for number in self.SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: object) -> None:
        self.asked = True
        print("asked to stop: the step in progress is finished and saved; a second time stops at once", file=sys.stderr)
        signal.signal(number, self._before[number])
