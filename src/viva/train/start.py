"""What a run begins with: tokenizer, documents and model, new or from a checkpoint."""

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch

from viva.base.config import Config, kind
from viva.base.errors import Notice, Refusal, nearest
from viva.base.files import whole_folder
from viva.model import adapt, adapter, folder, grow
from viva.model.adapter import Adapter
from viva.model.init import initialise
from viva.model.transformer import Transformer
from viva.text.cache.documents import Documents
from viva.text.rows.fields import Format
from viva.text.rows.format import parallel
from viva.text.rows.row import Row, strings
from viva.text.rows.split import split
from viva.text.tokens import grow as text_grow
from viva.text.tokens.characters import require_whole
from viva.text.tokens.grow import Grown
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.reread import Reread
from viva.text.tokens.tokenizer import Tokenizer
from viva.train import checkpoint, sources
from viva.train.data import Data, Share
from viva.train.recipe import TOKENIZER, Recipe

SPARE = 128  # rows beyond the tokenizer's that rounding a vocabulary up explains, as does an eighth of them


def tokenizer(recipe: Recipe, out: Path) -> Tokenizer:
    """The tokenizer that the recipe names, or one trained on the rows that are not held out, kept in `out`; with the
    tokens that the recipe adds to it, and with the recipe's chat template.
    """
    return _tokenizer(recipe, out)[0]


def _tokenizer(recipe: Recipe, out: Path) -> tuple[Tokenizer, Grown | None]:
    """The tokenizer, and what the tokens that are added to it were made of before."""
    found = Tokenizer.load(_place(recipe, out))
    more = text_grow.grow(found, recipe.add_tokens) if recipe.add_tokens else None
    return _templated(recipe, more.tokenizer if more else found), more


def _place(recipe: Recipe, out: Path) -> str | Path:
    """Where the tokenizer lies, which is trained first if need be."""
    if isinstance(recipe.tokenizer, str):
        return sources.place_of(recipe.tokenizer)
    if recipe.init is not None and recipe.tokenizer is None:
        return checkpoint.located(recipe.init)
    if not (out / TOKENIZER / "tokenizer.json").is_file():
        config = recipe.tokenizer or byte_bpe.Config()
        made = config.learn(Reread(partial(_strings_to_learn, recipe)))
        with whole_folder(out / TOKENIZER) as new:
            (made if recipe.template is None else made.with_template(recipe.template)).save(new)
    return out / TOKENIZER


def _templated(recipe: Recipe, found: Tokenizer) -> Tokenizer:
    """A tokenizer with the recipe's chat template; refused where it has not the tokens for that."""
    if recipe.template is None:
        return found
    made = found.with_template(recipe.template)
    if new := [token for token in made.specials if token not in found.specials]:
        must = f"the tokenizer must have the special tokens of the chat template {recipe.template}"
        raise Refusal(must, f"no {', '.join(new)}", f"{_remedy(recipe, new)}; or leave `template` out")
    return made


def _remedy(recipe: Recipe, new: list[str]) -> str:
    """How a tokenizer gets new tokens: alone or, where it belongs to a model, with rows for them in this."""
    if recipe.tokenizer is not None:
        return f"add them by `viva tokenizer template {recipe.tokenizer} {recipe.template} --out NEW`, and name NEW"
    listed = " ".join(map(repr, new))
    grown = f"`viva tokenizer add {recipe.init} --special {listed} --out GROWN` and init=GROWN"
    return f"grow the model by {grown}, or in this run by 'add_tokens.special={json.dumps(new)}'"


def _strings_to_learn(recipe: Recipe) -> Iterator[str]:
    """Every text in the rows that are not held out."""
    for row in split(recipe.data.rows(), "train", recipe.valid):
        yield from whole_strings(row)


def whole_strings(row: Row) -> Iterator[str]:
    """Every text in a row; refused with its place where one cannot be written as UTF-8."""
    for name, held in row.data.items():
        for text in strings(held):
            yield require_whole(text, f"the field {name!r} of {row.where}")


def model(recipe: Recipe, form: Format, tokens: Tokenizer, more: Grown | None = None) -> tuple[Config, Transformer]:
    """A new model of the recipe's sizes, or the one it goes on from, `more` tokens added; with its config, a head for
    the objective, and the recipe's adapter.
    """
    head, new_head = partial(_head, recipe, form), True
    if recipe.init is not None:
        # a model that is to be grown is kept as the adapter has it when that is attached
        packs = {"kept_as": recipe.adapter.kept_as} if recipe.adapter is not None and more is None else {}
        path = checkpoint.located(recipe.init)
        loaded = folder.load(path, torch.float32, head, recipe.seed, form.classes(), **packs)
        if more is None and loaded.tokenizer is not None:
            adapter.require_ids(loaded.tokenizer, tokens, recipe.init)
        config, found, new_head = loaded.config, loaded.model, loaded.new_head
        if more is not None:
            config, found = grow.grow(config, found, more.pieces)
        found = owned(found)
    else:
        config = recipe.model
        if getattr(config, "vocab", tokens) is None:
            config = config.model_copy(update={"vocab": tokens.vocab_size})
        if (needed := head(config)) is not None:
            config = config.model_copy(update={"head": needed})
        found = initialise(config.spec().build(), recipe.seed)
    recipe.objective.require(found)
    recipe.objective.require_classes(found, form)
    _require_fit(found, recipe, tokens)
    _tell_spare_rows(found, recipe, tokens)
    _tell_over_batch(found, recipe)
    config = _beginning(config, recipe, form, tokens)
    folder.require_savable(config, found, tokens)
    if recipe.adapter is not None:
        adapt.attach(found, recipe.adapter, recipe.seed, ("head",) if new_head else (), tokens.encode)
    return config, found


def _head(recipe: Recipe, form: Format, config: Config) -> Config | None:
    """The head that the recipe names, else the model's own, where the objective can use it, else the one it needs, as
    the family has it; None where nothing is to take the place of the model's own.
    """
    needed, own = recipe.objective.head(form), config.head or config.spec().head
    if recipe.head is not None or needed is None:
        return recipe.head
    if own is not None and _serves(own, needed, recipe):
        return own
    needed = config.fitted(needed)
    if recipe.init is None and config.head is not None and "head" in config.model_fields_set:
        text = f"the head {kind(own)} of the model makes room for {kind(needed)}, which the objective needs"
        warnings.warn(Notice(text), stacklevel=2)
    return needed


def _serves(own: Config, needed: Config, recipe: Recipe) -> bool:
    """Whether the objective can use the model's own head. That of `init` must tell as many classes apart as are needed;
    one that the recipe gives says how many there are to be.
    """
    alike = recipe.init is None or getattr(own, "labels", None) == getattr(needed, "labels", None)
    return kind(own) in recipe.objective.heads and alike


def _beginning(config: Config, recipe: Recipe, form: Format, tokens: Tokenizer) -> Config:
    """The config with the id that targets begin with, of the data or as the objective makes them of it, which must be
    the one the model's replies did.
    """
    makers = {"format": form, "objective": recipe.objective}
    maker = next((name for name, made in makers.items() if "start" in type(made).model_fields), None)
    if maker is None or "start" not in type(config).model_fields:
        return config
    start = parallel.begin(tokens, makers[maker].start)
    if config.start not in (None, start):
        known = {number: token for token, number in tokens.specials.items()}
        fix = f"set {maker}.start to {known.get(config.start, config.start)!r}"
        raise Refusal(f"targets must begin with the id {config.start}, as the model's replies do", start, fix)
    return config.model_copy(update={"start": start})


def resumed(recipe: Recipe, path: Path, tokens: Tokenizer) -> tuple[Config, Transformer]:
    """The model of a checkpoint, whose tokenizer must be the recipe's; of an adapter's, on the base of the recipe."""
    if recipe.adapter is None:
        loaded = folder.load(path)
    else:
        loaded, _ = adapter.load(path, checkpoint.located(recipe.init), torch.float32)
    loaded.tokenizer.fingerprint.require(tokens.fingerprint, str(path))
    return loaded.config, owned(loaded.model)


def owned(found: Transformer) -> Transformer:
    """The model with weights of its own memory, aligned as new ones are.

    Read from a file they are a map of it at any address, and where a tensor begins decides how kernels round.
    """
    for parameter in found.parameters():
        parameter.data = parameter.data.clone()
    return found


def _freeze(found: Transformer, parts: tuple[str, ...]) -> None:
    """Take these parts of the model out of training; refused: a name that is none of its modules, and a part that holds
    some of an adapter, beside which the model is frozen anyway.
    """
    modules = dict(found.named_modules())
    for name in parts:
        if name not in modules:
            raise Refusal("train.freeze must name parts of the model", repr(name), nearest(name, list(modules)[1:]))
        if any(".adapter." in f".{name}.{own}" for own, _ in modules[name].named_parameters()):
            fix = "leave it out, for the base is frozen already: the adapter's own fields say where it stands"
            raise Refusal("train.freeze must leave an adapter to be trained", f"{name!r}, which holds parts of it", fix)
        modules[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in found.parameters()):
        raise Refusal("a run must have something to train", f"all frozen by {', '.join(parts)}", "freeze less")


def _require_fit(found: Transformer, recipe: Recipe, tokens: Tokenizer) -> None:
    if found.spec.vocab is None:
        raise Refusal("a model must read text to learn from it", "one that reads images", "use a model of text")
    if not found.stacks and (recipe.train.recompute or recipe.train.compile):
        fix = "leave train.recompute and train.compile out"
        raise Refusal("a model must have blocks to be recomputed or compiled", "none", fix)
    if found.spec.vocab < tokens.vocab_size:
        fix = "leave model.vocab out, or use the tokenizer of the model"
        raise Refusal(f"the model must have a row for each of {tokens.vocab_size} tokens", found.spec.vocab, fix)
    if (segment := recipe.objective.at_once()) is not None:
        _require_segments(found, recipe, segment)
    elif found.spec.context < recipe.train.context:
        fix = "lower train.context, or raise the model's"
        raise Refusal(f"train.context must be at most the model's {found.spec.context}", recipe.train.context, fix)


def _require_segments(found: Transformer, recipe: Recipe, segment: int) -> None:
    """Refuse segments that are not parts of a row, or that the model would not read at once when it writes."""
    if recipe.train.pack:
        must = "rows that are read by segments must be one document each"
        raise Refusal(must, "train.pack=true", "set train.pack to false")
    if segment >= recipe.train.context:
        must = "objective.segment must be below train.context for a row to recall anything"
        raise Refusal(must, f"{segment} and {recipe.train.context}", "lower the one, or raise the other")
    if segment > found.spec.context:
        must = f"objective.segment must be at most the model's context of {found.spec.context}"
        raise Refusal(must, segment, "lower it, or raise the model's")


def _tell_spare_rows(found: Transformer, recipe: Recipe, tokens: Tokenizer) -> None:
    """Say that a new model has far more rows than tokens: more than rounding the vocabulary up explains."""
    vocab, most = found.spec.vocab, tokens.vocab_size + max(SPARE, tokens.vocab_size // 8)
    if recipe.init is None and vocab > most:
        text = f"the model has rows for {vocab:,} tokens, but the tokenizer has {tokens.vocab_size:,}: the other rows"
        warnings.warn(Notice(f"{text} take memory and time for nothing; leave model.vocab out"), stacklevel=2)


def _tell_over_batch(found: Transformer, recipe: Recipe) -> None:
    """Say what makes an update of several batches another than one of a single batch of all their rows."""
    whole = found.of_whole_batch + [f"the objective {kind(recipe.objective)}"] * recipe.objective.over_batch
    if recipe.train.accumulate > 1 and whole:
        batch, times = recipe.train.batch, recipe.train.accumulate
        text = (
            f"{' and '.join(whole)}: reckoned over each batch of {batch} on its own, so {times} of them accumulated "
            f"are not a batch of {batch * times}; raise train.batch for that"
        )
        warnings.warn(Notice(text), stacklevel=2)


@dataclass(frozen=True)
class Parts:
    """The parts of a run, in memory.

    `begun` is the checkpoint that they come from, `passed` the newer, broken ones, `source` that checkpoint or else the
    folder of `init`, `parent` what `init` names, `added` the tokens by which its vocabulary was made larger, `adapter`
    what is trained in the model's place.
    """

    tokenizer: Tokenizer
    form: Format
    config: Config
    model: Transformer
    train: Data
    valid: Data | None
    begun: Path | None
    passed: list[str]
    source: Path | None
    parent: str | None
    added: dict[str, int] | None = None
    adapter: Adapter | None = None


def parts(recipe: Recipe, out: Path, kept: Path | None = None) -> Parts:
    """Everything that a run in `out` begins with, from its newest valid checkpoint if there is one. What is made on the
    way is kept in `kept`, by default in `out` too.
    """
    begun, passed = checkpoint.newest(out)
    kept = kept or out
    recipe = sifted(recipe, kept, begun)
    source = begun or (checkpoint.located(recipe.init) if recipe.init else None)
    read = sources.settled(recipe, recipe.data, source and folder.labels(source))  # once: it may go over all rows
    form = read[0].format
    for part in read:
        recipe.objective.require_rows(part.format)
    tokens, more = _begun_with(recipe, out if begun else kept, begun)
    tokens = _framing(recipe, tokens)
    config, found = resumed(recipe, begun, tokens) if begun else model(recipe, form, tokens, more)
    _freeze(found, recipe.train.freeze)
    reading = recipe.objective.reading(tokens)
    reading.extra += found.virtual.count if found.virtual else 0
    learned, held_out = sources.reads(recipe, read)

    def data(reads: sources.Reads, found: list[Documents], shares: tuple[Share, ...] = ()) -> Data:
        joined, named = sources.joined(found), partial(reads.named, tokens=tokens)
        return Data(joined, recipe.train, reading, recipe.seed, shares, reads.name, named)

    train, valid = learned.built(tokens, kept), held_out and held_out.built(tokens, kept)
    train = data(learned, train, sources.shares(read, train))
    valid = valid and data(held_out, valid)
    if begun:
        _require_same(begun, train.documents)
    added = more.added if more else begun and folder.manifest(begun).get("added")
    parent = _parent(recipe, begun)
    made = recipe.adapter and _adapter(recipe, begun, found, parent)
    return Parts(tokens, form, config, found, train, valid, begun, passed, source, parent, added, made)


def sifted(recipe: Recipe, kept: Path, begun: Path | None = None) -> Recipe:
    """The recipe with the rows that its filters leave; what is decided is kept in `kept`. They may ask for the run's
    tokenizer, unless that is learned from the rows that they leave.
    """
    is_named = isinstance(recipe.tokenizer, str) or (recipe.init is not None and recipe.tokenizer is None)
    known = cache(lambda: _framing(recipe, _begun_with(recipe, kept, begun)[0])) if is_named else None
    return sources.sifted(recipe, kept, known)


def _begun_with(recipe: Recipe, kept: Path, begun: Path | None) -> tuple[Tokenizer, Grown | None]:
    """The tokenizer of a run, and what the tokens that are added to it were made of before. One that was begun from
    `init` has it in every checkpoint; where its `init` lies now does not matter.
    """
    own = begun is not None and recipe.init is not None and recipe.tokenizer is None
    return (Tokenizer.load(begun), None) if own else _tokenizer(recipe, kept)


def _adapter(recipe: Recipe, begun: Path | None, found: Transformer, parent: str) -> Adapter:
    """What the run's adapter is."""
    if begun:
        return adapter.read(begun)
    base = checkpoint.located(recipe.init)
    trained = any(parameter.requires_grad for parameter in found.head.parameters())
    head = found.spec.head if trained or found.spec.head != folder.architecture(base).head else None
    return Adapter(config=recipe.adapter, base=parent, fingerprint=adapter.fingerprint(base), head=head)


def _framing(recipe: Recipe, tokens: Tokenizer) -> Tokenizer:
    """The tokenizer as texts are framed in the run: as a model that goes on to read them whole, and to write none, has
    read them, or else by what they are for, in documents that begin and end.
    """
    ours = tokens.for_training
    reads = recipe.objective.reading(ours).whole and "lm" not in recipe.objective.heads
    return tokens if recipe.init is not None and reads else ours


def _parent(recipe: Recipe, begun: Path | None) -> str | None:
    """Where the first weights came from: a folder by its absolute path, a model of the hub by its id."""
    if begun:
        return folder.manifest(begun)["parent"]
    here = recipe.init is not None and Path(recipe.init).exists()
    return str(checkpoint.located(recipe.init).resolve()) if here else recipe.init


def _require_same(begun: Path, documents: Documents) -> None:
    """A run goes on with the documents it began with, or it would be neither the old run nor a new one."""
    before = folder.manifest(begun)["data"]
    if before != documents.name:
        fix = "restore the data, or the viva, as it was, or give another `out` to begin a new run"
        must = f"the data must be what {begun} was made with (the hash of its documents is {before})"
        raise Refusal(must, documents.name, fix)
