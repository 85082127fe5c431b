"""CLIP's BPE (Radford et al. 2021, section 2.4): lower case, and a mark at the end of each word, not a space before it.

Its own code repairs broken Unicode and HTML before (ftfy, html.unescape); neither is done here, as in transformers.
"""

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors

START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
ROLES = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def ends_words(vocab: dict[str, int]) -> bool:
    """Whether tokens of the vocabulary have the mark of a word's end."""
    return f"a{WORD_END}" in vocab


def core(vocab: dict[str, int], merges: list[tuple[str, str]]) -> tokenizers.Tokenizer:
    """The tokenizer of these tokens and merges, which sets START and END around a text."""
    made = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges, end_of_word_suffix=WORD_END, unk_token=END))
    made.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(WORDS), "removed", invert=True)
    bytes_of_words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([words, bytes_of_words])
    last = decoders.Replace(Regex(r" \z"), "")  # not the library's Strip, see text/tokens/decoder.py
    made.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace(WORD_END, " "), last])
    ends = [(token, vocab[token]) for token in (END, START)]
    made.post_processor = processors.RobertaProcessing(*ends, trim_offsets=False, add_prefix_space=False)
    return made
