"""How many replies a server has in hand, and what it tells those for whom there is no place."""

import math

from viva.serve.errors import Trouble

LONGEST_WAIT = 60  # seconds that a client is told to wait at most


class Places:
    """Replies that are written (`rows` at a time) or wait (`queue`); who finds no place is told when to come again."""

    def __init__(self, rows: int, queue: int):
        self.rows, self.most = rows, rows + queue
        self.taken = 0
        self._seconds = 1.0  # that a reply takes, the last ones counting most

    def take(self, count: int, field: str = "n") -> None:
        """Places for the replies to a request; `field` asks for the most of them."""
        if count > self.most:
            raise Trouble(400, f"{field}: one request may have {self.most} replies here, but asks for {count}", field)
        self.require(count)
        self.taken += count

    def require(self, count: int = 1) -> None:
        """Refuse where there are no places for so many replies."""
        if self.taken + count > self.most:
            ahead = self.taken + count - self.rows
            wait = min(LONGEST_WAIT, max(1, math.ceil(self._seconds * ahead / self.rows)))
            message = f"the queue is full: {self.taken} replies are written or wait; come again in {wait} s"
            raise Trouble(429, message, code="queue_full", retry_after=wait)

    def leave(self, count: int, seconds: float) -> None:
        """Give them back, after so many seconds."""
        self.taken -= count
        self._seconds += 0.1 * (seconds - self._seconds)
