"""Words guessed in place of the mask token, as a masked language model does."""

from dataclasses import dataclass

import torch

from viva.base.errors import Refusal
from viva.infer.spelled import encode_gaps, tell_spelled
from viva.infer.together import read_together, require_fit
from viva.model.whole import Whole
from viva.text.rows.fields import frame
from viva.text.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Guess:
    """A token, as text and as `id`, with its probability among all."""

    token: str
    probability: float
    id: int


def fill(model: Whole, tokenizer: Tokenizer, text: str, top: int, seen: bool = True) -> list[list[Guess]]:
    """For each mask token in `text` the `top` most likely tokens, the likeliest first; each mask is guessed with the
    others in place, which are `seen` by all tokens, or by none.
    """
    if type(top) is not int or not 1 <= top <= model.spec.vocab:
        raise Refusal(
            f"top must be a whole number from 1 to {model.spec.vocab}", top, "ask for fewer tokens, one at least"
        )
    mask = mask_token(tokenizer)
    ids = _read(tokenizer, text, mask)
    require_fit(model, "a text to fill in", len(ids))
    [scores] = read_together(model, [ids], unseen=None if seen else tokenizer.id(mask))
    masked = torch.tensor(ids, device=scores.device) == tokenizer.id(mask)
    best = scores[0, masked].float().softmax(-1).topk(top)
    rows = zip(best.values.tolist(), best.indices.tolist(), strict=True)
    return [[Guess(tokenizer.decode([id]), p, id) for p, id in zip(*row, strict=True)] for row in rows]


def mask_token(tokenizer: Tokenizer) -> str:
    """The token that stands for a word to be filled in; refused where the tokenizer names none."""
    mask = tokenizer.words.get("mask_token")
    if mask is None:
        fix = 'set "mask_token" in tokenizer_config.json to the one it was trained with'
        raise Refusal("a tokenizer must name its mask token for words to be filled in", "none", fix)
    return mask


def _read(tokenizer: Tokenizer, text: str, mask: str) -> list[int]:
    """The framed ids of `text`, in which of all special tokens the mask alone counts."""
    if not isinstance(text, str) or mask not in text:
        must = f"a text must have the mask token {mask} in place of each word that is to be filled in"
        raise Refusal(must, repr(text)[:80], "put it there, or give one text")
    before, after = frame(tokenizer)
    tell_spelled(tokenizer, [text], [mask])
    return [*before, *encode_gaps(tokenizer, text, [mask]), *after]
