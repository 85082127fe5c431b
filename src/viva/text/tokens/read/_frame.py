"""The tokens that a file says to set around a text."""

import tokenizers
from tokenizers import processors


def set_frame(core: tokenizers.Tokenizer, before: str | None, after: str | None) -> None:
    """Let `core` set these tokens before and after each text, of a pair around both."""
    one = [*([before] if before else []), "$A", *([after] if after else [])]
    if len(one) > 1:
        core.post_processor = processors.TemplateProcessing(
            single=one,
            pair=[*one, *(part.replace("$A", "$B") + ":1" for part in one)],
            special_tokens=[(token, core.token_to_id(token)) for token in {before, after} - {None}],
        )
