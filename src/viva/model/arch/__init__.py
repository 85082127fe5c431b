"""Model families, one file each: how a family writes its Spec, its config.json and the names of its tensors.

A family's module holds
- `Config`: its sizes in the package's alphabet, with `spec()`, the architecture they stand for;
- `MODEL_TYPE`, `from_hf(keys) -> Config` and `to_hf(config) -> dict`: Hugging Face's config.json, each key consumed or
ignored with a reason;
- `HEADS`: for each kind of head (model/head) the name of their class with it; that of `regress` is `classify`'s;
- `TENSORS`: which tensor of theirs holds which of ours; `BASE`: the prefix that some checkpoints leave out;
- where there are such, `UNREAD`: how the names of tensors end that some files hold and no model reads; `COMPUTED`: how
those of tables end that we compute, each with the function of its shape that gives the values it must have; and
`placeholders(config) -> dict`: keys of config.json that their class needs where no tokenizer says them; and
`misread(config, tokenizer, keys)`: what their class pools by a config.json in place of what ours does, if it does;
- `TINY`: a small example for tests.
"""
