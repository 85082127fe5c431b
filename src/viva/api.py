"""What `import viva` offers beside `viva.train`: load a model and talk to it, load a tokenizer."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from viva.base import machine
from viva.base.config import Config, parse
from viva.base.errors import Notice, Refusal, nearest
from viva.infer import answers, classify, cloze, fill, generate, in_context, mend, prototype, reader, similar
from viva.infer.answers import Answer
from viva.infer.beam import beam_search
from viva.infer.classify import Prediction
from viva.infer.decode import require_source
from viva.infer.fill import Guess
from viva.infer.generate import Piece
from viva.infer.given import given
from viva.infer.sampling import Sampling
from viva.infer.spelled import tell_spelled
from viva.infer.together import read_together
from viva.infer.trained import Gap, Trained
from viva.infer.use import require_filler, require_head, require_one_sequence, require_writer
from viva.model import adapter as adapter_folder
from viva.model import folder, grow, hub, merge, rescale
from viva.model.adapter import Adapter
from viva.model.spec import Spec
from viva.model.transformer import Transformer
from viva.text.rows.format import parallel
from viva.text.talk import chat
from viva.text.tokens import grow as text_grow
from viva.text.tokens import read
from viva.text.tokens.characters import require_list, require_texts
from viva.text.tokens.special import SENTINEL
from viva.text.tokens.tokenizer import Tokenizer

HALVES = ("bfloat16", "float16")
DTYPES = ("float32", *HALVES)
COUNTS = {1: "one by one", 2: "in pairs"}

Prompt = str | list[dict]  # a text to go on with, or the messages of a conversation to reply to


@dataclass(frozen=True)
class LanguageModel:
    """A model with the tokenizer it was trained with. `source`: the folder, or the hub id, that it was read from;
    `labels`: the names of the classes that its head tells apart, None where the folder says none. `trained`: what it
    was trained with and must be asked with. `added`: the tokens by which `grown` made it larger. `adapter`: what
    changes the model, `base`: the same without it; None of a model without one. `taken`: the adapter that `merged`
    took into the weights.
    """

    config: Config
    model: Transformer
    own_tokenizer: Tokenizer | None
    source: str
    labels: tuple[str, ...] | None = None
    trained: Trained = field(default_factory=Trained)
    added: dict[str, int] | None = None
    adapter: Adapter | None = None
    base: "LanguageModel | None" = None
    taken: str | None = None

    @property
    def spec(self) -> Spec:
        """The architecture as data."""
        return self.model.spec

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the folder; refused where it has none."""
        if self.own_tokenizer is None:
            fix = "copy the tokenizer.json it was trained with into the folder"
            raise Refusal("a model must have its tokenizer to read and write text", f"none in {self.source}", fix)
        return self.own_tokenizer

    @property
    def reach(self) -> float:
        """How many tokens it reads at most; infinity of a model that recalls."""
        return reader.reach(self.model)

    @property
    def text_reach(self) -> int:
        """How many tokens a text may have that is read whole, the special ones around it among them."""
        return min(self.spec.context, int(self.tokenizer.config.get("model_max_length", self.spec.context)))

    def __call__(self, ids: Tensor | list[list[int]]) -> Tensor:
        """What the head makes of ids [B, T], such as logits [B, T, V]; of an image model, of images [B, C, h, w].

        A model with an encoder and a decoder is refused: it reads two sequences.
        """
        require_one_sequence(self.model, self.own_tokenizer)
        return self.model(given(self.model, ids))

    def ids(self, prompt: Prompt, tools: list[dict] | None = None) -> list[int]:
        """What the model reads: a text behind what the tokenizer's post-processor sets before it or, in a model that
        viva trained, behind the begin token, as in training; or messages with a reply opened, and JSON schemas of the
        tools that it may call.
        """
        if not isinstance(prompt, str):
            return chat.render(self.tokenizer, prompt, reply=True, tools=tools).ids
        if tools is not None:
            raise Refusal("tools must come with the messages of a conversation", "a text", "give it as a message")
        return self._begun(self.tokenizer.encode(prompt))

    def _begun(self, ids: list[int]) -> list[int]:
        """`ids` behind what stands before a prompt; a begin token alone where there would be nothing to go on from."""
        return [*self.tokenizer.around_prompt[0], *ids] or self.tokenizer.for_training.around_prompt[0]

    def stream(self, prompt: Prompt, tools: list[dict] | None = None, **sampling: Any) -> Iterator[str]:
        """The reply as it comes, in pieces of whole characters; `sampling` are the fields of `infer.sampling`."""
        return (piece.text for piece in self.pieces(prompt, tools, **sampling) if piece.text)

    def pieces(self, prompt: Prompt, tools: list[dict] | None = None, **sampling: Any) -> Iterator[Piece]:
        """As `stream`, but every step of the reply with the token that was drawn; a search gives one piece of all."""
        chosen = parse(Sampling, sampling, name="sampling")
        require_writer(self.model)
        if isinstance(prompt, str):
            self._plain([prompt])
        yield from self._reply(*self._sides(prompt, tools), chosen)

    def generate(self, prompt: Prompt, tools: list[dict] | None = None, **sampling: Any) -> str:
        """The text that follows `prompt`."""
        return "".join(self.stream(prompt, tools, **sampling))

    def chat(self, messages: list[dict], tools: list[dict] | None = None, **sampling: Any) -> str:
        """The assistant's reply to a conversation such as [{"role": "user", "content": "hi"}]; `tools` are the JSON
        schemas of what it may call, and a call is in the reply as the chat template writes it.
        """
        return self.generate(messages, tools, **sampling)

    def infill(
        self, before: str, after: str, spm: bool = False, gap: dict[str, str] | None = None, **sampling: Any
    ) -> str:
        """What stands between two texts, by a decoder that learned the objective `infill`.

        It reads both as in training: the text before the gap first or, with `spm`, the text after it.
        `gap` names the tokens before the parts, {"prefix": "<PRE>", "suffix": "<SUF>", "middle": "<MID>"}; those left
        out are what the run was trained with or, where the folder does not say, those of the tokenizer's configuration.
        """
        from viva.train.objective import infill  # with what only training needs: loaded when it is asked for

        chosen = parse(Sampling, sampling, name="sampling")
        require_writer(self.model)
        require_one_sequence(self.model, self.own_tokenizer)
        before, after = self._plain([before, after])
        parts = (self.tokenizer.encode(text) for text in (before, "", after))
        told = {**dict(self.trained.gap or Gap()), **parse(Gap, gap or {}, name="gap").model_dump(exclude_none=True)}
        turned = infill.Config(**told).reading(self.tokenizer).told(*parts, spm)
        return "".join(piece.text for piece in self._reply(self._begun(turned.tolist()), None, chosen))

    def translate(self, texts: list[str], **sampling: Any) -> list[str]:
        """What a model with an encoder makes of each text, many at a time; `beams` 4 unless told, or 1 to draw."""
        chosen = parse(Sampling, {"beams": 4, **sampling}, name="sampling")
        require_source(self.model, texts)
        sides = [self._sides(text) for text in self._plain(texts)]
        return self._searched([prompt for prompt, _ in sides], chosen, [source for _, source in sides])

    def mend(self, texts: list[str], sentinel: str = SENTINEL, **sampling: Any) -> list[str]:
        """Each damaged text made whole, by a model with an encoder and a decoder that learned the objective `spans`, as
        T5 did, or `denoise`, as BART did; `beams` 4 unless told, or 1 to draw.

        Where a text has sentinels, <extra_id_0> for what is missing first, and so on, they are replaced by what the
        model writes for each. Otherwise it writes the text anew, and mask tokens in it stand for what is missing.
        `sentinel` is their name, with {} for the number. Other special tokens are plain characters.
        """
        chosen = parse(Sampling, {"beams": 4, **sampling}, name="sampling")
        require_source(self.model, texts)
        how = mend.mending(self.tokenizer, sentinel)
        damaged = how.read(require_texts(texts))
        replies = self._found([self._start] * len(damaged), chosen, how.framed(damaged))
        return how.whole(damaged, replies)

    def _sides(self, prompt: Prompt, tools: list[dict] | None = None) -> tuple[list[int], list[int] | None]:
        """(what the decoder begins with, what the encoder reads if there is one)."""
        if self.spec.encoder is None:
            return self.ids(prompt, tools), None
        if not isinstance(prompt, str):
            fix = "give one text to generate from, or translate a list of texts"
            raise Refusal("a model with an encoder must be given a text", f"{prompt!r:.80}", fix)
        before, after = self.tokenizer.around_source
        return self._start, [*before, *self.tokenizer.encode(prompt), *after]

    @property
    def _start(self) -> list[int]:
        """The ids that what is written from a source begins with."""
        start = getattr(self.config, "start", None)
        first = parallel.begin(self.tokenizer) if start is None else start
        return [first, *self.tokenizer.around_source[0]]

    def _plain(self, texts: list[str], what: str = "texts") -> list[str]:
        """Texts in which nothing is special; a Notice says where one spells a special token all the same."""
        texts = require_texts(texts, what)
        tell_spelled(self.tokenizer, texts)
        return texts

    def _reply(self, prompt: list[int], source: list[int] | None, chosen: Sampling) -> Iterator[Piece]:
        """The reply to one prompt, step by step, or as a search finds it."""
        if chosen.beams > 1:
            yield Piece(self._searched([prompt], chosen, source and [source])[0], None)
            return
        yield from generate.stream(self.model, self.tokenizer, prompt, chosen, source)

    def _searched(self, prompts: list[list[int]], chosen: Sampling, sources: list[list[int]] | None) -> list[str]:
        """The texts of the replies to many prompts."""
        return [self.tokenizer.decode(ids) for ids in self._found(prompts, chosen, sources)]

    def _found(self, prompts: list[list[int]], chosen: Sampling, sources: list[list[int]] | None) -> list[list[int]]:
        """The ids of the replies to many prompts, without those that end them."""
        stops = self.tokenizer.stops
        if chosen.beams > 1:
            replies = beam_search(self.model, prompts, chosen, stops, sources)
        else:
            replies = generate.generate_batch(self.model, prompts, chosen, stops, sources=sources)
        return [[token for token in ids if token not in stops] for ids in replies]

    def embed(self, texts: list[str], truncate: bool = False) -> Tensor:
        """A vector for each text, [N, E], by a model with the head `embed`.

        Texts longer than the model reads are refused or, with `truncate`, cut, which a Notice says. They lie end to end
        in one row, so none is padded to another's length.
        """
        found = [*self.vectors(texts, truncate)]
        return torch.cat(found) if found else self.model.embedding.weight.new_empty(0, self.model.head.width)

    def vectors(self, texts: list[str], truncate: bool = False) -> Iterator[Tensor]:
        """As `embed`, some texts at a time, [n, E]: who asks for no more has no more read."""
        require_head(self.model, "embed", self.own_tokenizer)
        return read_together(self.model, self._framed(self._plain(texts), truncate))

    def classify(self, texts: list[str], pair: list[str] | None = None) -> list[Prediction]:
        """The class of each text with its probability, by a model with the head `classify`.

        `pair` gives each its second text, where the model was trained on two. A text longer than the model reads is
        refused. Classes whose names the folder does not know are called by their numbers.
        """
        require_head(self.model, "classify", self.own_tokenizer)
        return classify.classify(self.model, self.tokenizer, *self._one_or_two(texts, pair), self._classes)

    def value(self, texts: list[str], pair: list[str] | None = None) -> list[float]:
        """The number for each text, by a model with the head `regress`; `pair` and what is refused as in `classify`."""
        require_head(self.model, "regress", self.own_tokenizer)
        return classify.values(self.model, self.tokenizer, *self._one_or_two(texts, pair))

    def _one_or_two(self, texts: list[str], pair: list[str] | None) -> tuple[list[str], list[str] | None]:
        """Texts, and those of their pairs; a Notice says where the model learned from another number of them."""
        learned, given = self.trained.texts, 1 if pair is None else 2
        if learned not in (None, given):
            text = f"the model was trained on texts read {COUNTS[learned]}, but is asked about texts {COUNTS[given]}"
            warnings.warn(Notice(text), stacklevel=3)
        return self._plain(texts), None if pair is None else self._plain(pair)

    def similarity(self, first: list[str], second: list[str]) -> list[float]:
        """How alike each text is to the one at its place in `second`, from -1 to 1, by a model with the head `similar`.

        One with the head `embed` gives the vectors themselves. A text longer than the model reads is refused.
        """
        require_head(self.model, "similar", self.own_tokenizer)
        return similar.similarities(self.model, self.tokenizer, self._plain(first), self._plain(second))

    def answer(self, questions: list[str], contexts: list[str]) -> list[Answer]:
        """The answer to each question in the text at its place in `contexts`, by a model with the head `span`.

        Each has the `text`, its `probability`, and its `start` and `end` in the context, in characters. A question and
        a context that together are longer than the model reads are refused.
        """
        require_head(self.model, "span", self.own_tokenizer)
        questions, contexts = self._plain(questions, "questions"), self._plain(contexts)
        return answers.answer(self.model, self.tokenizer, questions, contexts)

    def fill(self, text: str, top: int = 5) -> list[list[Guess]]:
        """For each mask token in the text the `top` most likely tokens with their probabilities, by an encoder that
        scores its vocabulary; one with a decoder writes what is missing in `mend`.

        Other special tokens are plain characters, as in every text. One longer than the model reads is refused.
        """
        require_filler(self.model, self.own_tokenizer)
        return fill.fill(self.model, self.tokenizer, text, top, self.trained.reads_masks)

    def nearest(self, texts: list[str], examples: dict[str, list[str]]) -> list[Prediction]:
        """The class of each text whose `examples` lie nearest on average, by a model with the head `embed`: a sentence
        encoder tells by a few what it was never trained to tell. Texts too long are refused, as in `embed`.
        """
        known = prototype.require_examples(examples)
        return prototype.nearest(self.embed(texts), {name: self.embed(own) for name, own in known.items()})

    def cloze(self, texts: list[str], pattern: str, words: dict[str, str]) -> list[Prediction]:
        """The class of each text by the word that fills the gap of a pattern, by an encoder that scores its vocabulary:
        cloze(texts, "{text} It was {word}.", {"positive": "great", "negative": "terrible"}). A word must be one token.
        """
        require_filler(self.model, self.own_tokenizer)
        texts = self._plain(texts)
        return cloze.cloze(self.model, self.tokenizer, texts, pattern, words, self.trained.reads_masks)

    def in_context(
        self, texts: list[str], pattern: str, words: dict[str, str], examples: Sequence[tuple[str, str]] = ()
    ) -> list[Prediction]:
        """The class of each text by the word that is the likeliest to follow, by a decoder; `examples`, each a text and
        its class, stand before it in the same pattern, such as "Review: {text}\\nSentiment: {word}\\n\\n".
        """
        require_writer(self.model)
        require_one_sequence(self.model, self.own_tokenizer)
        prompts = in_context.demonstrated(self._plain(texts), examples, pattern, words)
        follow = {name: self.tokenizer.encode(in_context.follows(pattern, word)) for name, word in words.items()}
        return in_context.ranked(self.model, [self.ids(prompt) for prompt in prompts], follow)

    def tag(self, texts: list[list[str]], spaces: bool = True) -> list[list[str]]:
        """The class of each word of texts that are lists of words, by a model with the head `tag`.

        `spaces` says whether words are set apart by spaces, as in the format `tags`.
        """
        require_head(self.model, "tag", self.own_tokenizer)
        words = [self._plain(text, "words") for text in require_list(texts, "lists of words")]
        return classify.tag(self.model, self.tokenizer, words, spaces, self._classes)

    @property
    def _classes(self) -> list[str]:
        """The names of the head's classes, their numbers where none are known."""
        return [*(self.labels or map(str, range(self.spec.head.labels)))]

    def _framed(self, texts: list[str], truncate: bool) -> list[list[int]]:
        """The ids of each text between the tokenizer's special tokens, none longer than the model reads."""
        most = self.text_reach
        found = [encoding.ids for encoding in self.tokenizer.encode_framed(texts)]
        long = [number for number, ids in enumerate(found) if len(ids) > most]
        if long and not truncate:
            fix = "shorten it, or give truncate=True to read the beginning alone"
            raise Refusal(f"a text must be of at most {most} tokens", f"{len(found[long[0]])} in text {long[0]}", fix)
        if long:
            cut = self.tokenizer.encode_framed([texts[number] for number in long], most)
            for number, encoding in zip(long, cut, strict=True):
                found[number] = encoding.ids
            warnings.warn(Notice(f"{len(long)} of {len(texts)} texts are cut to {most} tokens"), stacklevel=3)
        if [] in found:
            raise Refusal("a text must have tokens to have a vector", f"none in text {found.index([])}", "leave it out")
        return found

    def rescaled(self, scaling: str | dict | Config, context: int | None = None) -> "LanguageModel":
        """The same model, whose weights it shares, with another scaling of its rotary positions, written as in a Spec:
        {"kind": "yarn", "factor": 4, "trained": 2048}; and made for a longer `context`, in tokens, if one is given.

        Saved, it computes the same in transformers; what the family's files cannot say is refused there, such as a
        dynamic scaling of another length than the context. A model without rotary positions is refused here.
        """
        self._require_no_adapter("rescaled")
        config = rescale.rescaled(self.config, scaling, context)
        return replace(self, config=config, model=rescale.twin(self.model, config))

    def grown(self, tokens: Sequence[str] = (), special: Sequence[str] = ()) -> "LanguageModel":
        """The same model with more tokens: `tokens` are found in every text, `special` ones where a template sets them.

        Their vectors begin as the mean of those of the pieces that their texts had; every other weight is the same.
        Refused: a token that is there or is empty. Saved, viva.json names what was added.
        """
        self._require_no_adapter("grown")
        asked = parse(text_grow.Config, {"tokens": [*tokens], "special": [*special]}, name="added tokens")
        more = text_grow.grow(self.tokenizer, asked)
        config, model = grow.grow(self.config, self.model, more.pieces)
        return replace(self, config=config, model=model, own_tokenizer=more.tokenizer, added=more.added)

    def with_adapter(self, path: str | Path) -> "LanguageModel":
        """The base with the adapter in a folder of ours or of PEFT's, in a run, or on the hub.

        All that are made of one base share its weights, and each can be asked at any time. One that has the base in 4
        bits does not keep it as it was, and reads it anew where it is asked for another. Refused: an adapter of another
        base.
        """
        base = self.base or (self if self.adapter is None else load(self.source, self.model.embedding.weight.dtype))
        plain = folder.Loaded(base.config, base.model, base.own_tokenizer, {}, {}, base.labels)
        loaded, made = adapter_folder.onto(plain, located(base.source), located(path))
        made = made.model_copy(update={"config": made.config.folded(loaded.model)})
        trained = Trained.told({**base.trained.notes, **loaded.manifest}, made.source)
        return replace(
            base,
            config=loaded.config,
            model=loaded.model,
            own_tokenizer=loaded.tokenizer,
            adapter=made,
            base=None if getattr(made.config, "quantize", None) else base,
            labels=loaded.labels,
            trained=trained,
        )

    def merged(self) -> "LanguageModel":
        """One model without an adapter that computes the same; refused where none does, or rounding shows."""
        if self.adapter is None:
            raise Refusal("a model must have an adapter to be merged with it", "none", "load it with adapter=FOLDER")
        plain = merge.merged(self.config, self.model)
        return replace(self, model=plain, adapter=None, base=None, taken=self.adapter.source)

    def _require_no_adapter(self, changed: str) -> None:
        if self.adapter is not None:
            raise Refusal(f"a model must have no adapter to be {changed}", "one", "merge it first: model.merged()")

    def save(self, target: str | Path, peft: bool = False) -> None:
        """Write a folder that `viva.load` and, for published families, transformers open; of a model with an adapter,
        that of the adapter alone, with `peft` in the form that PEFT opens.

        A checkpoint that viva wrote there is replaced; anything else there is refused. A `Notice` says it where
        transformers has no class for the model's head.
        """
        folder.require_room(target)
        if self.adapter is not None:
            self._save_adapter(target, peft)
            return
        if peft:
            raise Refusal("a model must have an adapter to be saved as one", "none", "load it with adapter=FOLDER")
        folder.require_savable(self.config, self.model, self.own_tokenizer)
        folder.save(target, self.config, self.model, self.own_tokenizer, self._notes)

    def _save_adapter(self, target: str | Path, peft: bool) -> None:
        if peft:
            adapter_folder.save_as_peft(target, self.config, self.adapter, self.model)
        else:
            adapter_folder.save(target, self.adapter, self.model, self.own_tokenizer, self._notes)

    @property
    def _notes(self) -> dict[str, Any]:
        """What viva.json says of the model beside what it is."""
        known = {"labels": self.labels, "added": self.added, "merged": self.taken}
        return {"parent": self.source, **{name: value for name, value in known.items() if value}, **self.trained.notes}


def load(name: str | Path, dtype: str | torch.dtype | None = None, adapter: str | Path | None = None) -> LanguageModel:
    """The model in a folder of ours, in any Hugging Face folder of a known family, in a run, or on the hub.

    Of a run the best checkpoint is taken, or the newest. `dtype` None keeps the file's, except that half precision is
    widened to fp32 on a CPU that is measured to decode faster so. `adapter` is a folder of ours or of PEFT's, or a run
    that trained one; where `name` itself is one, the base is the one it names.
    """
    path = located(name)
    if adapter_folder.holds_one(path):
        base = adapter_folder.base_of(path)
        if adapter is not None or base is None:
            found = "an adapter as the base" if adapter is not None else f"an adapter, {path}, that names none"
            raise Refusal("a model must have a base, and one adapter at most", found, "give BASE, adapter=FOLDER")
        return load(base, dtype, path)
    if adapter is not None:
        return load(name, dtype).with_adapter(adapter)
    loaded = folder.load(path, _dtype(dtype))
    source = str(path.resolve()) if Path(name).exists() else str(name)
    device = machine.device()
    if dtype is None and device == "cpu":
        _widen(loaded.model, device)
    trained = Trained.told(loaded.manifest, str(path / folder.MANIFEST))
    return LanguageModel(loaded.config, loaded.model.to(device), loaded.tokenizer, source, loaded.labels, trained)


def located(name: str | Path) -> Path:
    """The checkpoint folder that `name` means: that folder, a run's best, or a model fetched from the hub."""
    path = hub.located(name)
    if (path / "config.json").is_file():
        return path  # without loading what only training needs
    from viva.train import checkpoint

    return checkpoint.located(path)


def load_tokenizer(path: str | Path, **told: Any) -> Tokenizer:
    """The tokenizer in a file or a folder of any form that text/tokens/read knows, of a run, or of a model on the hub.

    `told` is what a form leaves open and no file beside it says: `pattern="llama3"`, `do_lower_case=False`.
    """
    here = Path(path).is_file() or read.holds_one(path)
    return Tokenizer.load(path if here else located(path), **told)


def _dtype(name: str | torch.dtype | None) -> torch.dtype | None:
    if name is None:
        return None
    known = str(name).removeprefix("torch.")
    if known not in DTYPES:
        raise Refusal("dtype must be known", repr(name), nearest(known, list(DTYPES)))
    return getattr(torch, known)


def _widen(model: Transformer, device: str) -> None:
    """Turn a half-precision model to fp32 where that decodes faster, and say so."""
    stored = str(model.embedding.weight.dtype).removeprefix("torch.")
    if stored not in HALVES:
        return
    chosen, why = machine.decodes_faster(device, (stored, "float32"))
    if chosen != stored:
        model.to(getattr(torch, chosen))
        warnings.warn(Notice(f"the weights are widened from {stored} to {chosen}: {why}"), stacklevel=3)
