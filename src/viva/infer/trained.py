"""What a model was trained with and must be asked with, where neither its weights nor its tokenizer tell: viva.json
keeps it of a run for the calls of `viva.load(...)`.
"""

from collections.abc import Mapping
from typing import Any, Literal

from viva.base.config import Config, parse


class Gap(Config):
    """The tokens that stand before the parts of a text with a gap; of one left out the tokenizer's configuration says
    which it is, as `prefix_token` and so on.
    """

    prefix: str | None = None
    suffix: str | None = None
    middle: str | None = None


class Trained(Config):
    """`texts`: how many texts, 1 or 2, were read as one to tell a class or a value. `masks_seen`: whether the other
    tokens attended to a mask token; by the objective `permute` none does. `gap`: the tokens of the objective `infill`.
    None where nothing is known, or nothing of the kind was learned.
    """

    texts: Literal[1, 2] | None = None
    masks_seen: bool | None = None
    gap: Gap | None = None

    @classmethod
    def told(cls, manifest: Mapping[str, Any], where: str) -> "Trained":
        """What the manifest of the folder `where` says; refused where that is nothing that a run could write."""
        return parse(cls, {name: manifest[name] for name in cls.model_fields if name in manifest}, name=where)

    @property
    def reads_masks(self) -> bool:
        """Whether masks may be put to it as tokens that others read: unless it is known that none did."""
        return self.masks_seen is not False

    @property
    def notes(self) -> dict[str, Any]:
        """What a manifest is to say."""
        return self.model_dump(exclude_none=True)
