"""Texts said in other words: translated into another language and back (Sennrich et al. 2016,
https://arxiv.org/abs/1511.06709; as augmentation Edunov et al. 2018, https://arxiv.org/abs/1808.09381).
"""

from typing import Any, Protocol


class Translator(Protocol):
    """What `viva.load` gives of a model with an encoder and a decoder."""

    def translate(self, texts: list[str], **sampling: Any) -> list[str]: ...


def back_translated(there: Translator, back: Translator, texts: list[str], **sampling: Any) -> list[str]:
    """Each text by way of the language that `there` translates into; `sampling` are the fields of infer/sampling."""
    filled = [place for place, text in enumerate(texts) if text.strip()]
    middle = there.translate([texts[place] for place in filled], **sampling) if filled else []
    known = [place for place, text in zip(filled, middle, strict=True) if text.strip()]
    again = back.translate([text for text in middle if text.strip()], **sampling) if known else []
    found = dict(zip(known, again, strict=True))
    return [found.get(place, "") for place in range(len(texts))]
