"""What every way to guess has in common."""

from collections.abc import Callable, Sequence

from viva.infer.engine.pick import Drawing
from viva.infer.engine.request import Request
from viva.infer.engine.schedule import Limits
from viva.model.transformer import Transformer

Load = Callable[[str], Transformer]


class Drafter:
    """Guesses for requests that write. `model`: one that reads beside the one that is served, if there is."""

    model: Transformer | None = None

    def open(self, blocks: int, size: int, limits: Limits) -> None:
        """Be told what there is room for: as many blocks of `size` tokens as the model that is served has."""

    def guess(self, writing: Sequence[tuple[Request, Drawing]]) -> list[list[int]]:
        """The next tokens of each, the likeliest continuation of what is known of it; none where nothing is."""
        raise NotImplementedError

    def forget(self, request: Request) -> None:
        """A request that will write no more."""
