"""What a model can be asked, by its parts and its head; a refusal of anything else names the call that fits."""

from viva.base.config import kind
from viva.base.errors import Refusal
from viva.infer.mend import has_gaps
from viva.model.whole import Whole
from viva.text.tokens.tokenizer import Tokenizer

WORDS = ("lm", "masked")  # heads that score the vocabulary
# other heads by which there is a call: what it gives, and its name
CALLS = {
    "embed": ("give vectors", "embed(texts)"),
    "classify": ("tell classes", "classify(texts)"),
    "tag": ("tag words", "tag(texts)"),
    "regress": ("tell values", "value(texts)"),
    "similar": ("compare texts", "similarity(first, second)"),
    "span": ("find answers", "answer(questions, contexts)"),
}


def use(model: Whole, tokenizer: Tokenizer | None = None) -> str:
    """The call of `viva.load(...)` by which this model is used, with its tokenizer if that is known."""
    spec, head = model.spec, kind(model.spec.head)
    both = spec.encoder is not None and spec.decoder is not None
    if spec.decoder is not None and head in WORDS:
        mends = tokenizer is not None and has_gaps(tokenizer)
        return f"translate(texts){' or mend(texts)' if mends else ''}" if both else "generate(prompt)"
    if both:
        return ".model(ids, memory=.model.encode(source))"
    if spec.vocab is None:
        return "calling it on images [B, C, h, w]"
    if head in WORDS:
        return "fill(text)"
    return CALLS[head][1] if head in CALLS else "calling it on ids [B, T]"


def require_writer(model: Whole) -> None:
    """Refuse a model that cannot write."""
    head, fix = kind(model.spec.head), f"use a language model; this one is used in Python by {use(model)}"
    if model.spec.decoder is None:
        raise Refusal("a model must have a decoder to generate text", "an encoder alone", fix)
    if head not in WORDS:
        raise Refusal("a model must score its vocabulary to generate text", f"the head {head}", fix)


def require_filler(model: Whole, tokenizer: Tokenizer | None = None) -> None:
    """Refuse a model that does not score words from both sides of them."""
    head = kind(model.spec.head)
    if model.spec.decoder is not None:
        raise Refusal("a model must be an encoder to fill in words", "one with a decoder", _instead(model, tokenizer))
    if head not in WORDS:
        raise Refusal("a model must score its vocabulary to fill in words", f"the head {head}", _instead(model))


def require_head(model: Whole, head: str, tokenizer: Tokenizer | None = None) -> None:
    """Refuse a model that does not end in `head`, one of CALLS, or that reads two sequences or an image."""
    found, what = kind(model.spec.head), CALLS[head][0]
    if found != head:
        raise Refusal(f"a model must have the head {head} to {what}", f"the head {found}", _instead(model, tokenizer))
    if model.spec.vocab is None:
        raise Refusal(f"a model must read text to {what} of it", "one that reads images", _instead(model))
    require_one_sequence(model, tokenizer)


def require_one_sequence(model: Whole, tokenizer: Tokenizer | None = None) -> None:
    """Refuse a model whose decoder reads on from what an encoder has read."""
    if model.spec.encoder is not None and model.spec.decoder is not None:
        found = "an encoder and a decoder, which read a sequence each"
        raise Refusal("a model must read one sequence to be given ids alone", found, _instead(model, tokenizer))


def _instead(model: Whole, tokenizer: Tokenizer | None = None) -> str:
    return f"load another, or use this one by {use(model, tokenizer)}"
