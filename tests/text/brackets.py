"""A rendered conversation as text in which brackets show what is learned."""


def bracketed(tokenizer, made):
    """The text of the ids, token by token, with ⟦ ⟧ around what is learned."""
    runs = []
    for token, learned in zip(made.ids, made.mask, strict=True):
        if not runs or runs[-1][0] != learned:
            runs.append((learned, []))
        runs[-1][1].append(token)
    return "".join(f"⟦{tokenizer.decode(run)}⟧" if learned else tokenizer.decode(run) for learned, run in runs)
