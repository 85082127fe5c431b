"""BERT's WordPiece (Devlin et al. 2019): the longest token first, from the left, within words and single signs."""

from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from viva.base.errors import Refusal

ROLES = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
NEEDED = ("[UNK]", "[CLS]", "[SEP]")


def core(
    vocab: dict[str, int], lower: bool, strip_accents: bool | None = None, tokenize_chinese_chars: bool = True
) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """The tokenizer of this vocabulary, which sets [CLS] and [SEP] around a text, and the roles of its special tokens.

    `strip_accents` left out follows `lower`, as in BERT.
    """
    if missing := [token for token in NEEDED if token not in vocab]:
        found = f"no {' and no '.join(missing)}"
        raise Refusal("a WordPiece vocabulary must hold BERT's special tokens", found, "use another form's file")
    made = tokenizers.Tokenizer(models.WordPiece(vocab=vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=tokenize_chinese_chars, strip_accents=strip_accents, lowercase=lower
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(prefix="##")
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocab[token]) for token in ("[CLS]", "[SEP]")],
    )
    return made, {role: token for role, token in ROLES.items() if token in vocab}
