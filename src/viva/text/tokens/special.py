"""tokenizer_config.json as Hugging Face writes it: the chat template, and which tokens are special."""

from itertools import takewhile
from operator import itemgetter
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from viva.base.errors import Refusal
from viva.base.files import read_json

SENTINEL = "<extra_id_{}>"  # T5's name for what stands in place of a span, with {} for its number
EXTRA = ("extra_special_tokens", "additional_special_tokens")  # today's and yesterday's name of one list
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")  # how an added token is looked for
MORE_TEMPLATES = "additional_chat_templates"  # transformers' folder for those by name


def read(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json with the template as one string, or several by name; files beside it come first."""
    config = _config(folder / "tokenizer_config.json")
    if "added_tokens_decoder" not in config:
        config |= _config(folder / "special_tokens_map.json")
        if added := _older_added(folder, config):
            config["added_tokens_decoder"] = added
    found = by_name(config.pop("chat_template", None))
    files = {"default": folder / "chat_template.jinja"}
    files |= {file.stem: file for file in sorted((folder / MORE_TEMPLATES).glob("*.jinja"))}
    found |= {name: file.read_text(encoding="utf-8") for name, file in files.items() if file.is_file()}
    if not found:
        return config
    return {**config, "chat_template": found["default"] if list(found) == ["default"] else found}


def by_name(found: Any) -> dict[str, str]:
    """Chat templates by name, of a tokenizer_config.json: one alone is the default."""
    if isinstance(found, list):  # as transformers writes them into that file
        return {entry["name"]: entry["template"] for entry in found}
    return dict(found) if isinstance(found, dict) else {"default": found} if found else {}


def _config(file: Path) -> dict[str, Any]:
    return read_json(file) if file.is_file() else {}


def _older_added(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """added_tokens.json (token -> id) in today's form; not read beside a tokenizer.json, which holds its tokens."""
    if (folder / "tokenizer.json").is_file():
        return {}
    named = {token.content for token in _named(config)}
    return {
        str(number): {"content": token, "special": token in named, "normalized": token not in named}
        for token, number in _config(folder / "added_tokens.json").items()
    }


def word(token: Any) -> str | None:
    """The string of a token that is given as a string or as {"content": ..., "lstrip": ...}."""
    return token.get("content") if isinstance(token, dict) else token if isinstance(token, str) else None


def words(config: dict[str, Any]) -> dict[str, str]:
    """The tokens with a role, as strings: `bos_token`, `eos_token`, `pad_token`, ..."""
    found = {key: word(value) for key, value in config.items() if key.endswith("_token")}
    return {key: value for key, value in found.items() if value}


def flags(added: list[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Added token -> what its entry in a tokenizer.json says it does; those of which it says nothing are left out.

    >>> flags([{"content": "<mask>", "lstrip": True, "normalized": False}, {"content": "<s>", "lstrip": False}])
    {'<mask>': ('lstrip',)}
    """
    found = {token["content"]: tuple(flag for flag in FLAGS if token.get(flag)) for token in added}
    return {token: said for token, said in found.items() if said}


def sentinels(specials: dict[str, int], name: str = SENTINEL) -> dict[str, int]:
    """Those of the special tokens that stand for a span of a text: `name` with 0, 1, ... in place of {}, as many as
    there are in a row.

    >>> sentinels({"</s>": 1, "<extra_id_0>": 9, "<extra_id_1>": 8, "<extra_id_3>": 6})
    {'<extra_id_0>': 9, '<extra_id_1>': 8}
    """
    numbered = (name.replace("{}", str(number)) for number in range(len(specials)))
    return {token: specials[token] for token in takewhile(specials.__contains__, numbered)}


def add_named(core: tokenizers.Tokenizer, config: dict[str, Any]) -> None:
    """Add to `core` the tokens that `config` lists by id, and make special in it what `config` calls special.

    A token that is in the file keeps its id and its way of matching; a new one gets the next id. Refused where
    `config` states another one.
    """
    known = {token.content for token in core.get_added_tokens_decoder().values()}
    for number, entry in _by_id(config):
        if entry["content"] not in known:
            core.add_tokens([_token(entry, special=bool(entry.get("special")))])
        if (got := core.token_to_id(entry["content"])) != number:
            must = f"the added token {entry['content']!r} must get the id {number} that is written for it"
            fix = "correct added_tokens_decoder (or added_tokens.json): new ids follow the vocabulary's without gaps"
            raise Refusal(must, got, fix)
    known = {token.content: token for token in core.get_added_tokens_decoder().values()}
    for token in _named(config):
        token = known.get(token.content, token)
        if token.content not in known or not token.special:
            token.special = True
            core.add_special_tokens([token])


def match_as_told(core: tokenizers.Tokenizer, config: dict[str, Any]) -> None:
    """Let the tokens that `core` has already take in the spaces that `config` says, and be words where it says so.

    Whether they are looked for before the text is normalised stays: after it, a person's text could forge one.
    """
    known = {token.content: token for token in core.get_added_tokens_decoder().values()}
    for entry in [*(entry for _, entry in _by_id(config)), *(config[key] for key in words(config))]:
        if isinstance(entry, dict) and (token := known.get(entry["content"])):
            told = {flag: entry.get(flag, getattr(token, flag)) for flag in FLAGS} | {"normalized": token.normalized}
            core.add_tokens([AddedToken(token.content, special=token.special, **told)])


def _named(config: dict[str, Any]) -> list[AddedToken]:
    """Every token that the configuration makes special: those added by id, those with a role, the extra ones."""
    named = [token for _, token in _by_id(config) if token.get("special")]
    named += [config[key] for key in words(config)]
    for key in EXTRA:
        extra = config.get(key) or []
        named += extra.values() if isinstance(extra, dict) else extra
    return [_token(token) for token in named]


def _by_id(config: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    return sorted(
        ((int(number), token) for number, token in config.get("added_tokens_decoder", {}).items()), key=itemgetter(0)
    )


def _token(token: Any, special: bool = True) -> AddedToken:
    if isinstance(token, str):
        return AddedToken(token, special=special, normalized=False)
    kept = {key: token[key] for key in FLAGS if key in token}
    return AddedToken(token["content"], special=special, **kept)
