"""`viva tokenizer convert`: a tokenizer of any form, saved as tokenizer.json."""

from pathlib import Path


def convert(path: str, *, out: Path, pattern: str | None = None, do_lower_case: bool | None = None) -> None:
    """Save a tokenizer of any form as the tokenizer.json that transformers, too, opens.

    Example: viva tokenizer convert cl100k_base.tiktoken --out tokenizers/cl100k

    Parameters
    ----------
    path
        a .tiktoken, .model, .gguf or vocab.txt file, or a folder with one, or with vocab.json and merges.txt
    out
        the folder to write tokenizer.json and tokenizer_config.json into
    pattern
        which vocabulary it is, where no file says so: gpt2, cl100k_base, llama3, ...
    do_lower_case
        of a vocab.txt: whether texts are brought to lower case
    """
    from viva.api import load_tokenizer

    told = {"pattern": pattern, "do_lower_case": do_lower_case}
    loaded = load_tokenizer(path, **{key: value for key, value in told.items() if value is not None})
    loaded.save(out)
    print(f"{loaded.vocab_size} tokens, {len(loaded.specials)} of them special, saved in {out}")
