"""The columns of a file of prompts: those that say what is asked, those that are kept as they are, and those that would
be taken for either.
"""

import json
from difflib import get_close_matches

from viva.base.errors import Refusal
from viva.infer.engine.asked import Asked
from viva.serve.schema import chat, completion
from viva.text.rows.row import Row
from viva.text.tokens.characters import require_whole

READ = ("prompt", "messages", "tools", "adapter")
WRITTEN = ("reply", "finish", "tokens", "token_logprobs")
ELSEWHERE = {"system", *chat.Request.model_fields, *completion.Request.model_fields}  # read, but not of a row
INSTEAD = {  # what a row says for it
    "max_tokens": "write 'max_new_tokens'",
    "max_completion_tokens": "write 'max_new_tokens'",
    "min_tokens": "write 'min_new_tokens'",
    "stop_token_ids": "write 'stop_ids'",
    "ignore_eos": "write 'go_on'",
    "top_logprobs": "write how many as 'logprobs'",
    "best_of": "write 'n'",
    "response_format": "write the schema as 'json_schema'",
    "model": "write the name of an adapter as 'adapter'",
    "system": "write it as the first of 'messages'",
}
ALIKE = 0.8  # how alike a name is to one of ours, from 0 to 1, to be taken for a slip


def require_apart(row: Row) -> None:
    """Refuse columns that would not simply be kept."""
    known = [*Asked.model_fields, *READ]
    for name, value in row.data.items():
        if name in known or (name in ELSEWHERE and value is None):
            continue
        if name in WRITTEN:
            raise Refusal(f"{row.where} must leave the field {name!r} to the reply", "it there", "rename it")
        if name in ELSEWHERE:
            fix = f"{INSTEAD.get(name, 'leave it out')}, or rename a column of your own"
            raise Refusal(f"{row.where}: what is asked must stand in fields that a row has", repr(name), fix)
        if close := get_close_matches(name.lower(), known, n=1, cutoff=ALIKE):
            fix = f"write {close[0]!r}, or rename a column of your own"
            raise Refusal(f"{row.where}: a field must be one that is known, or unlike them all", repr(name), fix)
    try:
        require_whole(json.dumps(row.data, ensure_ascii=False), row.where)
    except TypeError as error:
        raise Refusal(f"{row.where} must be what JSON can say", error, "write numbers and texts") from None
