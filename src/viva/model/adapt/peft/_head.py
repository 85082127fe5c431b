"""The head of a model beside an adapter of PEFT's: whole modules of a class of transformers, which `modules_to_save` in
their config lists and their file holds as they are.
"""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from viva.base.config import Config, kind
from viva.base.errors import Refusal
from viva.model import tensors
from viva.model.arch._family import Held, Keys, their_kind
from viva.model.head import classify, regress, span, tag
from viva.model.init import hollow

TASKS = {"classify": "SEQ_CLS", "tag": "TOKEN_CLS", "span": "QUESTION_ANS"}  # of which theirs always keeps the head
KINDS = {task: name for name, task in TASKS.items()}
WORDS = "lm_head.weight"  # the one tensor of a head of words that is a whole module there


def in_head(row: Held) -> bool:
    """Whether a tensor is one of the head's."""
    return row.ours[0].startswith("head.")


def task(model: nn.Module) -> str:
    """Their word for what a model does, by which PEFT sets vectors before its text, and keeps its head."""
    if kind(model.spec.head) == "lm" and model.decoder is not None:
        return "CAUSAL_LM" if model.encoder is None else "SEQ_2_SEQ_LM"
    return TASKS.get(their_kind(model.spec.head), "FEATURE_EXTRACTION")


def write(family: Any, model: nn.Module, rows: list[Held], trained: bool) -> tuple[dict[str, Tensor], list[str]]:
    """The head's tensors by their names, and the modules that hold them, where it was `trained` or is one that theirs
    always keeps. Refused: one that is no module of their class.
    """
    saved = [row for row in rows if in_head(row)]
    if not trained and their_kind(model.spec.head) not in TASKS:
        return {}, []
    if odd := [row.theirs for row in saved if not _is_theirs(row, model)]:
        fix = "keep it in viva's own form"
        raise Refusal("a head that was trained must be a module of their class for PEFT", tensors.listed(odd), fix)
    own = dict(model.named_parameters())
    return {row.theirs: own[row.ours[0]] for row in saved}, sorted({_module(row, family.BASE) for row in saved})


def _is_theirs(row: Held, model: nn.Module) -> bool:
    named = their_kind(model.spec.head) in TASKS or row.theirs == WORDS
    return named and not row.theirs.startswith("head.")  # as we call what their class has not


def _module(row: Held, base: str) -> str:
    """The module to keep: as high as it may stand beside the base model, inside of it the one that holds the tensor."""
    above, _, _ = row.theirs.rpartition(".")
    return above if base and row.theirs.startswith(base) else above.partition(".")[0]


def read(
    keys: Keys, stored: dict[str, Tensor], family: Any, config: Config, model: nn.Module, base: Path
) -> tuple[Config | None, dict[str, Tensor]]:
    """The head that stands in `stored`, which is left without it, and its tensors by our names: the one of the model of
    this `config`, or a new one as task_type says it. None where there is none. What theirs did not train, such as the
    layer before BERT's scores, is the one of the folder `base`; refused where it is not there.
    """
    head = _told(keys, stored, family, config, model.spec.head)
    with hollow():
        plain = config.model_copy(update={"head": head}).spec().build()
    rows = [row for row in tensors.named(family, plain) if in_head(row)]
    found = {row.ours[0]: stored.pop(row.theirs) for row in rows if row.theirs in stored}
    if not found:
        return None, {}
    missing = [row for row in rows if row.ours[0] not in found]
    return plain.spec.head, found | _of_base(missing, family, base, keys.where)


def _told(keys: Keys, stored: dict[str, Tensor], family: Any, config: Config, own: Config) -> Config:
    """The model's own head, or the one that the adapter's task has in its place."""
    wanted = KINDS.get(keys.left.get("task_type"), their_kind(own))
    out = {row.theirs for row in family.TENSORS if row.head == wanted and row.ours == ("head.out.weight",)} & {*stored}
    labels = len(stored[out.pop()]) if out else None
    if labels is None or (wanted == their_kind(own) and labels == getattr(own, "labels", labels)):
        return own
    of_one = {"classify": regress.Config} if labels == 1 else {}  # by their rule a single label is a number
    made = {"classify": classify.Config, "tag": tag.Config, "span": lambda labels: span.Config()} | of_one
    return config.fitted(made[wanted](labels=labels))


def _of_base(missing: list[Held], family: Any, base: Path, where: str) -> dict[str, Tensor]:
    """Tensors of a head as they stand in the folder of the base, perhaps without the name of its class's base model."""
    there = tensors.read(base) if missing else {}
    found = {row.ours[0]: there.get(row.theirs, there.get(row.theirs.removeprefix(family.BASE))) for row in missing}
    if lost := [row.theirs for row in missing if found[row.ours[0]] is None]:
        must = f"the head beside {where} must be whole, or the base must have the rest of it"
        fix = "name these modules in modules_to_save when it is trained, or load it on the base that has them"
        raise Refusal(must, f"no {tensors.listed(lost)}", fix)
    return found
