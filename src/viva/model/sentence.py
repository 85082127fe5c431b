"""How a folder of sentence-transformers says what becomes of the last states: modules.json names the steps,
1_Pooling/config.json how a text's states become one vector (Reimers and Gurevych 2019).
"""

import json
from pathlib import Path
from typing import Any

from viva.base.errors import Refusal
from viva.base.files import read_json, write_text
from viva.model.arch._family import Keys
from viva.model.head import embed

MODULES, POOLING = "modules.json", "1_Pooling/config.json"
WRITTEN = {MODULES, POOLING}
STEPS = {  # what a step of theirs may be, and where its own files lie
    "Transformer": "",
    "Pooling": "1_Pooling",
    "Normalize": "2_Normalize",
}
POOLS = {"cls": "first", "lasttoken": "last", "mean": "mean", "max": "max"}
FLAGS = {  # an older way to name the mode
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}


def head(folder: Path) -> embed.Config | None:
    """The head that the steps make, or None where the folder is not of sentence-transformers."""
    if not (folder / MODULES).is_file():
        return None
    steps = [step if isinstance(step, dict) else {"type": step} for step in read_json(folder / MODULES, list)]
    kinds = [str(step.get("type")).rsplit(".", 1)[-1] for step in steps]
    if kinds not in (list(STEPS), list(STEPS)[:2]) or steps[0].get("path") != "":
        found = ", ".join(f"{kind} in {step.get('path')!r}" for kind, step in zip(kinds, steps, strict=True))
        must = (
            f"the steps of {folder / MODULES} must be a Transformer in the folder itself, Pooling and perhaps Normalize"
        )
        raise Refusal(must, found, "load the folder of the transformer alone, without what follows it")
    _require_no_prompt(folder)
    return embed.Config(pool=_pool(folder / str(steps[1].get("path")) / "config.json"), normalised=len(steps) > 2)


def longest(folder: Path) -> int | None:
    """How many tokens of a text sentence-transformers reads, where a file of its own says so."""
    if not (folder / MODULES).is_file():
        return None
    for file in sorted(folder.glob("sentence_*_config.json")):  # the middle was once the family's name
        keys = Keys(read_json(file), str(file))
        keys.expect("do_lower_case", False)
        keys.expect("transformer_task", "feature-extraction")
        keys.expect("module_output_name", "token_embeddings")
        keys.expect("modality_config", {"text": {"method": "forward", "method_output_name": "last_hidden_state"}})
        keys.ignore(
            model_args="how to load it there",
            tokenizer_args="how to load it there",
            config_args="how to load it there",
        )
        most = keys.take("max_seq_length", None)
        keys.finish()
        return most
    return None


def write(folder: Path, head: embed.Config, width: int) -> None:
    """The files by which sentence-transformers opens the folder and pools as `head` says."""
    if head.width is not None:
        fix = "leave head.width out, or build the model with the kind custom"
        raise Refusal(
            "a sentence embedding that sentence-transformers opens must be as wide as the model", head.width, fix
        )
    kinds = list(STEPS) if head.normalised else list(STEPS)[:2]
    steps = [
        {"idx": i, "name": str(i), "path": STEPS[kind], "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    write_text(folder / MODULES, json.dumps(steps, indent=2))
    pooling: dict[str, Any] = {key: POOLS.get(mode) == head.pool for key, mode in FLAGS.items()}
    write_text(folder / POOLING, json.dumps({"word_embedding_dimension": width, **pooling}, indent=2))


def _pool(file: Path) -> str:
    keys = Keys(read_json(file), str(file))
    flags = [mode for key, mode in FLAGS.items() if keys.take(key, False)]
    named = keys.take("pooling_mode", flags)
    keys.ignore(
        word_embedding_dimension="the model's width",
        embedding_dimension="the model's width",
        include_prompt="there is no prompt",
    )
    keys.finish()
    modes = [named] if isinstance(named, str) else list(named)
    if len(modes) != 1 or modes[0] not in POOLS:
        fix = "pool by hand the states of the transformer alone"
        raise Refusal(f"the pooling of {file} must be one of {', '.join(POOLS)}", " and ".join(modes) or "none", fix)
    return POOLS[modes[0]]


def _require_no_prompt(folder: Path) -> None:
    """Text that is put before each text unless the caller says otherwise."""
    file = folder / "config_sentence_transformers.json"
    said = read_json(file) if file.is_file() else {}
    name = said.get("default_prompt_name")
    if name is not None and (prompt := said.get("prompts", {}).get(name)):
        fix = "write it before your texts, and remove default_prompt_name from the file"
        raise Refusal(f"{file} must put no prompt before each text", repr(prompt), fix)
