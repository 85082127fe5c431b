"""`viva tokenizer diff`: what tells two tokenizers apart."""

from itertools import islice


def diff(first: str, second: str, *, data: str | None = None, field: str = "text", most: int = 5) -> int:
    """Show the parts in which two tokenizers differ, and the first texts of which they make different ids.

    Read are probing texts of many scripts, texts with the added tokens of both and, where given, DATA: each as a
    person's text, then with special tokens counting, then framed. Exit code 1 if the tokenizers differ in anything.

    Example: viva tokenizer diff runs/quickstart gpt2/tokenizer.json --data docs/

    Parameters
    ----------
    first
        a file or a folder with a tokenizer of any form, a run, or a hub id
    second
        the one to compare it with
    data
        a file, a folder or a glob of texts, as `viva tokenizer train` takes
    field
        where the text is in the rows of jsonl and parquet files
    most
        how many texts to show
    """
    from viva.api import load_tokenizer
    from viva.text.tokens import differ
    from viva.text.tokens.probes import PROBES

    one, other = load_tokenizer(first), load_tokenizer(second)
    parts, texts = differ.parts(one, other), [*PROBES, *differ.added(one, other), *_texts(data, field)]
    found = list(differ.differences(one, other, texts))
    print(f"parts that differ: {', '.join(parts) or 'none'}")
    print(f"texts with different ids: {len(found)} of {len(texts)}")
    for each in islice(found, most):
        print(f"\n{each.text[:60]!r}, at token {each.place}, {each.way}")
        for name, around in ((first, each.first), (second, each.second)):
            print(f"  {name}: {' '.join(f'{token}:{number}' for number, token in around)}")
    return 1 if parts or found else 0


def _texts(data: str | None, field: str) -> list[str]:
    from viva.text.rows.corpus import files
    from viva.text.rows.fields import text

    return [] if data is None else [text(row, field) for row in files.Config(path=data).rows()]
