"""What stands before and after a text, such as [CLS] and [SEP].

The tokenizer's post-processor says it, which transformers obeys too: where that of a published tokenizer sets nothing,
as GPT-2's does not, a text stands alone. With a tokenizer that viva learned, or trained a model with, whose documents
stand between begin and end, it then depends on what the text is for: one that is read whole stands between the tokens
of BERT's roles or, without those, the begin and the end of a document; the source of a translation ends with the end;
a prompt begins with the begin, and what follows is for the model to write.
"""

import json
from collections.abc import Callable
from typing import Any

import tokenizers
from tokenizers import processors

from viva.text.tokens.fingerprint import PROBE

Ids = list[int]
Around = Callable[[tokenizers.Tokenizer, dict[str, str]], tuple[Ids, Ids]]
# the key of tokenizer_config.json by which viva frames texts, with the post-processor in whose place it writes another
REPLACED = "viva_replaced"


def around(core: tokenizers.Tokenizer) -> tuple[Ids, Ids]:
    """The ids that the post-processor sets before and after a text."""
    probe = core.encode(PROBE)
    plain = [place for place, added in enumerate(probe.special_tokens_mask) if not added]
    return (probe.ids[: plain[0]], probe.ids[plain[-1] + 1 :]) if plain else ([], [])


def around_whole(core: tokenizers.Tokenizer, words: dict[str, str]) -> tuple[Ids, Ids]:
    """The ids before and after a text that is read whole; `words` are the special tokens, role -> token, that may stand
    there where the post-processor sets none. Without one to end it nothing stands before it either.
    """
    own, end = around(core), _ids(core, words, "sep_token", "eos_token")
    return own if any(own) or not end else (_ids(core, words, "cls_token", "bos_token"), end)


def around_source(core: tokenizers.Tokenizer, words: dict[str, str]) -> tuple[Ids, Ids]:
    """The ids before and after a text that is to be turned into another, and around that one."""
    own = around(core)
    return own if any(own) else ([], _ids(core, words, "eos_token"))


def around_prompt(core: tokenizers.Tokenizer, words: dict[str, str]) -> tuple[Ids, Ids]:
    """The ids before a text that is to be gone on with; nothing stands after it."""
    return around(core)[0] or _ids(core, words, "bos_token", "cls_token"), []


def _ids(core: tokenizers.Tokenizer, words: dict[str, str], *roles: str) -> Ids:
    """The id of the first of these roles that there is, as a list; none without any."""
    return [core.token_to_id(words[role]) for role in roles if role in words][:1]


def by_use(config: dict[str, Any]) -> bool:
    """Whether texts around which the post-processor sets nothing are framed by what they are for."""
    return REPLACED in config


def marked(core: tokenizers.Tokenizer, config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a tokenizer with which texts are framed by what they are for."""
    return config | {REPLACED: _post_processor(core)}


def _setting(core: tokenizers.Tokenizer, before: Ids, after: Ids) -> tokenizers.Tokenizer:
    """`core`, or a copy of it with a post-processor that sets these ids around a text."""
    if around(core) == (before, after):
        return core
    made = tokenizers.Tokenizer.from_str(core.to_str())
    first, last = ([core.id_to_token(number) for number in side] for side in (before, after))
    frame = processors.TemplateProcessing(
        single=[*first, "$A", *last],
        pair=[*first, "$A", *last, "$B:1", *(f"{token}:1" for token in last)],
        special_tokens=list(zip(first + last, before + after, strict=True)),
    )
    kept = core.post_processor is not None and not any(around(core))
    made.post_processor = processors.Sequence([core.post_processor, frame]) if kept else frame
    return made


def written(
    core: tokenizers.Tokenizer, config: dict[str, Any], words: dict[str, str], frame: Around
) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """The tokenizer and its configuration as others are to find them: with `frame` in the post-processor, and the one
    that it replaces kept in the configuration.
    """
    return _setting(core, *frame(core, words)), marked(core, config)


def own(core: tokenizers.Tokenizer, config: dict[str, Any]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """The inverse of `written`: the tokenizer as it was."""
    if not by_use(config):
        return core, config
    parts = json.loads(core.to_str()) | config[REPLACED]
    return tokenizers.Tokenizer.from_str(json.dumps(parts)), config


def _post_processor(core: tokenizers.Tokenizer) -> dict[str, Any]:
    """As it stands in tokenizer.json, None if there is none."""
    return {"post_processor": json.loads(core.to_str())["post_processor"]}
