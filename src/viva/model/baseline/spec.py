"""A recurrent or convolutional model as data. A family (model/arch/rnn.py, cnn.py) is a way to write such a Spec."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator
from torch.nn import Module

from viva.base.choice import Choice
from viva.base.config import Config
from viva.base.errors import Refusal
from viva.model.head import lm
from viva.model.pool import Pool


class Recurrence(Config):
    """`layers` of cells: "lstm" (Hochreiter and Schmidhuber 1997), "gru" (Cho et al. 2014) or "rnn" (Elman 1990).

    `both_ways`: half of the E numbers of a state come from what precedes, half from what follows (Schuster and Paliwal
    1997). `dropout` falls between layers (Zaremba et al. 2014, https://arxiv.org/abs/1409.2329).
    """

    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    layers: int = Field(gt=0)
    both_ways: bool = False
    dropout: float = Field(0.0, ge=0, lt=1)


class Convolution(Config):
    """E / len(windows) filters for each of the `windows`, a number of tokens (Kim 2014)."""

    windows: tuple[int, ...] = Field((3, 4, 5), min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if min(self.windows) < 1:
            raise Refusal("a window must have at least one token", min(self.windows), "widen it, or leave it out")
        return self


class Spec(Config):
    """Token embeddings of width E, an `encoder`, a `decoder` or both, and a head.

    With both, the decoder begins in the encoder's last state (Sutskever et al. 2014) and, where there is `attention`,
    reads the encoder's states by that score. `dropout` falls on the embeddings and on the last states. `context` is the
    length the model is made for; nothing in it depends on that.
    """

    vocab: int = Field(gt=0)
    width: int = Field(gt=0)
    context: int = Field(gt=0)
    encoder: Recurrence | Convolution | None = None
    decoder: Recurrence | None = None
    attention: Choice("viva.model.score") | None = None
    head: Choice("viva.model.head") = lm.Config()
    dropout: float = Field(0.0, ge=0, lt=1)
    init: ClassVar[str] = "uniform"  # of starting weights (model/init.py)

    @property
    def inner(self) -> int:
        """The width of the tokens' vectors."""
        return self.width

    @property
    def stacks(self) -> tuple:
        """Stacks of blocks: none."""
        return ()

    @property
    def pool(self) -> Pool:
        """The last token where all is read by then, else the largest of each number over the document: of filters (Kim
        2014) and of states both ways (Conneau et al. 2017, https://arxiv.org/abs/1705.02364).
        """
        one_way = self.decoder is not None or (isinstance(self.encoder, Recurrence) and not self.encoder.both_ways)
        return "last" if one_way else "max"

    def build(self) -> Module:
        """The model, with the weights of torch's own drawing."""
        from viva.model.baseline.model import Baseline  # which is made of this file's specs

        return Baseline(self)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        encoder, decoder = self.encoder, self.decoder
        if encoder is None and decoder is None:
            raise Refusal("a model must have an encoder or a decoder", "neither", "give one of them, or both")
        if decoder is not None and decoder.both_ways:
            raise Refusal("a decoder must read left to right", "both_ways: true", "set it on the encoder alone")
        if isinstance(encoder, Convolution) and self.width % len(encoder.windows):
            found = f"{self.width} for {len(encoder.windows)} windows"
            raise Refusal("width must be divided evenly among the windows", found, "choose a multiple")
        if isinstance(encoder, Recurrence) and encoder.both_ways and self.width % 2:
            raise Refusal("an encoder both ways must have an even width", self.width, "choose an even one")
        if encoder is not None and decoder is not None:
            self._require_one_state()
        elif self.attention is not None:
            found = f"{'a decoder' if encoder is None else 'an encoder'} alone"
            raise Refusal("attention must lead from a decoder to an encoder", found, "leave it out, or use both")
        return self

    def _require_one_state(self) -> None:
        """The decoder's first state is the encoder's last."""
        if not isinstance(self.encoder, Recurrence):
            raise Refusal("a decoder must begin in a recurrent encoder's last state", "a convolution", "use an rnn")
        kinds = [(stack.cell, stack.layers) for stack in (self.encoder, self.decoder)]
        if kinds[0] != kinds[1]:
            found = " and ".join(f"{layers} layers of {cell}" for cell, layers in kinds)
            raise Refusal("encoder and decoder must have as many layers of the same cell", found, "make them equal")
