"""What families share: the sizes a recipe gives, the reading of config.json, the table of tensors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from viva.base.choice import Choice
from viva.base.config import Config, kind
from viva.base.errors import Refusal
from viva.model.head import classify, regress

MISSING = object()

# Keys by which a config.json, before transformers 5, said how to generate.
GENERATION = (
    "max_length",
    "min_length",
    "do_sample",
    "early_stopping",
    "num_beams",
    "num_beam_groups",
    "diversity_penalty",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "num_return_sequences",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "decoder_start_token_id",
    "remove_invalid_values",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
    "prefix",
    "task_specific_params",
)

# Keys of any config.json that do not change what the model computes.
NO_EFFECT = {
    "model_type": "read before the family's own keys",
    "transformers_version": "says who wrote the file",
    "_name_or_path": "says where the file came from",
    "auto_map": "code beside a checkpoint is never run",
    "dtype": "the tensors carry their own",
    "torch_dtype": "the tensors carry their own",
    "initializer_range": "used when training starts anew",
    "use_cache": "the caller chooses",
    "output_attentions": "the caller chooses",
    "output_hidden_states": "the caller chooses",
    "return_dict": "shapes the return value alone",
    "return_dict_in_generate": "shapes the return value alone",
    "output_scores": "the caller chooses",
    "torchscript": "the caller chooses",
    "use_bfloat16": "the caller chooses",
    "_attn_implementation_autoset": "the caller chooses",
    "chunk_size_feed_forward": "saves memory, computes the same",
    "gradient_checkpointing": "saves memory, computes the same",
    "output_past": "the caller chooses",
    "is_encoder_decoder": "follows from the family",
    "is_decoder": "follows from the family",
    "architectures": "the family is read from model_type",
    "id2label": "belongs to a classification head",
    "label2id": "belongs to a classification head",
    "num_labels": "belongs to a classification head",
    "_num_labels": "belongs to a classification head",
    "problem_type": "says how a classification head is trained, and is read with one",
    "finetuning_task": "says what the model was tuned on",
    "language": "says what the model was tuned on",
    "name": "says who wrote the file",
    "sbert_ce_default_activation_function": "what sentence-transformers applies to the scores",
    "tokenizer_class": "the tokenizer's files say it",
    "sep_token_id": "the tokenizer's files say it",
    "bos_token_id": "the tokenizer's files say it",
    "eos_token_id": "the tokenizer's files say it",
    "pad_token_id": "the tokenizer's files say it",
    **dict.fromkeys(GENERATION, "defaults of generation, which the caller chooses"),
}
# Keys of any config.json that change what the model computes, and the value with which they do not.
USUAL = {
    "pruned_heads": {},
    "add_cross_attention": False,
    "cross_attention_hidden_size": None,
    "tie_encoder_decoder": False,
    "quantization_config": None,
}
# What the names of their classes for one task end with; such a class is none that stands for another.
OTHERS = (
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
    "ForNextSentencePrediction",
    "ForImageClassification",
    "DoubleHeadsModel",
    "EncoderModel",
)
NUMBER, SEVERAL = "regression", "multi_label_classification"  # of their problem_type


class Keys:
    """The keys of a config.json, each of which must be taken or ignored before `finish`."""

    def __init__(self, hf: dict[str, Any], where: str = "config.json"):
        self.left, self.where = dict(hf), where
        self.ignored: dict[str, str] = {}

    def take(self, key: str, default: Any = MISSING, null: Any = MISSING) -> Any:
        """The value of `key`, `default` where it is absent, and `null` (left out: `default` again) where it is null.

        Without a default it must be there. A default is the one of the family's class in transformers.
        """
        absent = key not in self.left
        value = self.left.pop(key, None)
        if value is None:
            value = default if absent or null is MISSING else null
        if value is MISSING:
            raise Refusal(f"{self.where} must have the key {key}", "none", "complete the file or download it again")
        return value

    def head(self, heads: dict[str, str]) -> str:
        """The kind of head that `architectures` names, of a family's HEADS; the first of these where it is absent."""
        named = self.of(list, "architectures") or [None]
        return next((found for found, name in heads.items() if name == named[0]), next(iter(heads)))

    def require_class(self, heads: dict[str, str]) -> None:
        """Refuse a class in `architectures` whose head is of another kind than those of a family's HEADS."""
        named = self.left.get("architectures")
        name = str(named[0]) if isinstance(named, list) and named else ""
        if name.endswith(OTHERS) and name not in heads.values():
            must = f"architectures in {self.where} must name a class that is built here: {', '.join(heads.values())}"
            fix = "use a model of one of these; to train another head on what is below it, remove architectures there"
            raise Refusal(must, name, fix)

    def labels(self) -> int:
        """How many classes a classification head tells apart."""
        names, count = self.of(dict, "id2label"), self.take("num_labels", None)
        return len(names) if names is not None else count or 2  # transformers' default

    def section(self, key: str) -> dict[str, Any]:
        """The keys inside `key`; none where it is absent or null."""
        return self.of(dict, key) or {}

    def of(self, form: type, key: str) -> Any:
        """The value of `key`, which must be of this form; None where it is absent or null."""
        value = self.take(key, None)
        if value is not None and not isinstance(value, form):
            must = {dict: "hold keys of its own", list: "be a list"}[form]
            raise Refusal(f"{key} in {self.where} must {must}", repr(value), "correct it, or download the file again")
        return value

    def expect(self, key: str, *allowed: Any, default: Any = MISSING) -> Any:
        """The value of a key that is built for only some values; where absent, `default` or the first of `allowed`."""
        value = self.take(key, allowed[0] if default is MISSING else default)
        if value not in allowed:
            listed = " or ".join(map(repr, allowed))
            raise Refusal(f"{key} in {self.where} must be {listed}", repr(value), "use a model without this feature")
        return value

    def ignore(self, **reasons: str) -> None:
        """Set keys aside that have no effect here; `ignored` keeps the reasons of those that were present."""
        for key, reason in reasons.items():
            if key in self.left:
                del self.left[key]
                self.ignored[key] = reason

    def finish(self) -> None:
        """Refuse what nobody has read: it may change what the model computes."""
        self.ignore(**NO_EFFECT)
        for key, usual in USUAL.items():
            self.expect(key, usual)
        if self.left:
            raise Refusal(
                f"every key of {self.where} must be understood",
                ", ".join(f"{key}={value!r}" for key, value in self.left.items()),
                "remove a key that has no effect on the computation, or add it to the family's file in model/arch",
            )


def their_kind(head: Config) -> str:
    """The kind of head by whose class and tensors they have this one: a number is the score of a single label."""
    return "classify" if kind(head) == "regress" else kind(head)


def of_sequence(keys: Keys, labels: int, **fields: Any) -> Config:
    """The head of their class for sequences. By their rule a single label is a number, and `problem_type` says whether
    a sequence may be of several classes; `fields` are those of `classify.Scores`.
    """
    problem = keys.take("problem_type", None)
    if problem == NUMBER and labels != 1:
        must = f"a model of problem_type {NUMBER} in {keys.where} must predict a single number"
        raise Refusal(must, f"{labels} of them", "use a model with num_labels 1")
    if labels == 1 and problem != SEVERAL:
        return regress.Config(**fields)
    return classify.Config(labels=labels, several=problem == SEVERAL, **fields)


def labels_to_hf(head: Config | None) -> dict[str, Any]:
    """The keys by which a head says how many labels it has, and what they mean; none of a head without."""
    if (labels := getattr(head, "labels", None)) is None:
        return {}
    problem = NUMBER if kind(head) == "regress" else SEVERAL if getattr(head, "several", False) else None
    return {"num_labels": labels} | ({"problem_type": problem} if problem else {})


@dataclass(frozen=True)
class Held:
    """One tensor of theirs holds `ours`, laid one below another along the first axis, then transposed if `transposed`.

    `{i}` in a name stands for each layer, `{e}` for each expert in it. A row with a `head` is there with this kind of
    head alone, as `their_kind` tells it; a `flat` one has so many axes of length 1 before ours; one with `when` is
    there for a Spec of which it is true.
    """

    theirs: str
    ours: tuple[str, ...]
    transposed: bool = False
    head: str | None = None
    flat: int = 0
    when: Callable[[Any], bool] | None = None


def held(theirs: str, *ours: str, **how: Any) -> Held:
    """A row of a family's table of tensors; `how` are the other fields of `Held`."""
    return Held(theirs, ours, **how)


def pairs(names: dict[str, str], head: str | None = None) -> tuple[Held, ...]:
    """Rows for the weight and the bias of each module of theirs that is one of ours: {theirs: ours}."""
    return tuple(
        held(f"{theirs}.{part}", f"{ours}.{part}", head=head)
        for theirs, ours in names.items()
        for part in ("weight", "bias")
    )


class Fitting(Config):
    """The base of each family's Config."""

    def fitted(self, head: Config) -> Config:
        """A head as the family's own class has it, for who asks for a kind of head and leaves its form open."""
        return head


class Sizes(Fitting):
    """The sizes every family has. `vocab` left out is the tokenizer's, `head` the one the family is pretrained with."""

    vocab: int | None = Field(None, gt=0)
    width: int = Field(gt=0)
    context: int = Field(1024, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    head: Choice("viva.model.head") | None = None

    @property
    def known_vocab(self) -> int:
        """`vocab`, which must have been given or filled in by now."""
        if self.vocab is None:
            raise Refusal("a model must know its vocabulary", "vocab left out", "give model.vocab, or a tokenizer")
        return self.vocab


class Family(Sizes):
    """The sizes every Transformer has."""

    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    hidden: int | None = Field(None, gt=0)


def name_of(ours: Any, names: dict[str, Any], family: str) -> str:
    """The name in config.json of what is `ours` in the family's table of `names`."""
    if ours not in names.values():
        fix = f"use one of {', '.join(map(str, names.values()))}, or build the model with the kind custom"
        raise Refusal(f"the config.json of {family} must have a name for what the model computes", repr(ours), fix)
    return next(theirs for theirs, mine in names.items() if mine == ours)


def divided(width: int, heads: int) -> int:
    """The width D of a head that results when E is divided among H heads."""
    if width % heads:
        raise Refusal("heads must divide width", f"{heads} heads for width {width}", "choose a divisor of the width")
    return width // heads
