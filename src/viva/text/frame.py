"""What stands before and after a text that is read whole, such as [CLS] and [SEP].

The tokenizer's post-processor says it, which transformers obeys too. Where it sets nothing, as in a tokenizer made for
models that write, the tokens of BERT's roles do or, without those, the begin and the end of a document.
"""

import tokenizers
from tokenizers import processors


def framing(core: tokenizers.Tokenizer, words: dict[str, str]) -> tokenizers.Tokenizer:
    """`core`, or a copy of it with a post-processor that frames a text by its special tokens `words`, role -> token."""
    before = words.get("cls_token") or words.get("bos_token")
    after = words.get("sep_token") or words.get("eos_token")
    if after is None or core.num_special_tokens_to_add(False):
        return core
    made = tokenizers.Tokenizer.from_str(core.to_str())
    single = [*([before] if before else []), "$A", after]
    frame = processors.TemplateProcessing(
        single=single,
        pair=[*single, "$B:1", f"{after}:1"],
        special_tokens=[(token, core.token_to_id(token)) for token in {before, after} - {None}],
    )
    made.post_processor = processors.Sequence([core.post_processor, frame]) if core.post_processor else frame
    return made
