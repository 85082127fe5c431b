"""Stop strings in text that arrives in pieces."""


class Guard:
    """Passes text on up to the first stop string; what may still become one is held back.

    `hit` says that a stop string came. It and what follows it are never emitted.
    """

    def __init__(self, stops: tuple[str, ...]):
        self._stops, self._held = stops, ""
        self.hit = False

    def push(self, piece: str) -> str:
        """Take a piece of text; return what has become certain."""
        if self.hit:
            return ""
        text = self._held + piece
        found = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        self.hit = bool(found)
        end = min(found) if found else len(text) - self._open(text)
        self._held = "" if self.hit else text[end:]
        return text[:end]

    def end(self) -> str:
        """What is still held back, when no more text comes."""
        held, self._held = self._held, ""
        return held

    def _open(self, text: str) -> int:
        """The length of the longest end of `text` that begins a stop string."""
        longest = min(max(map(len, self._stops), default=1) - 1, len(text))
        ends = (n for n in range(longest, 0, -1) if any(stop.startswith(text[-n:]) for stop in self._stops))
        return next(ends, 0)
