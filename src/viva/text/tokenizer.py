"""A tokenizer in Hugging Face's form: tokenizer.json, and tokenizer_config.json with the chat template."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import normalizers

from viva.base.errors import Refusal, nearest
from viva.base.files import write_text
from viva.text import frame, marks, special, template
from viva.text.characters import require_whole
from viva.text.fingerprint import PROBE, Fingerprint, digest
from viva.text.stream import Stream


class Tokenizer:
    """Ids from text and text from ids.

    In a person's text nothing is special: `encode("<|im_end|>")` gives the ids of these ten characters. Special
    tokens enter by `id`, or by a chat template (`text/chat.py`) through `encode_marked`.
    """

    def __init__(self, core: tokenizers.Tokenizer, config: dict[str, Any]):
        """`core` does the work; `config` is what tokenizer_config.json holds, the template included."""
        core.no_truncation()  # a file may ask for it; here nothing is cut without a word
        core.no_padding()
        special.add_specials(core, config)
        core.encode_special_tokens = True
        self.core, self.config = core, config

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """The tokenizer in a folder, or in a tokenizer.json and the files beside it."""
        path = Path(path)
        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            fix = "give a folder with a tokenizer.json, or train one with `viva tokenizer train`"
            raise Refusal("a tokenizer must be a folder with a tokenizer.json", path, fix)
        try:
            core = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exceptions
            raise Refusal(f"{file} must be a tokenizer.json", error, "fetch or save it again") from None
        return cls(*frame.own(core, special.read(file.parent)))

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, as `transformers.AutoTokenizer` reads them."""
        write_text(Path(folder) / "tokenizer.json", self._json)
        # words: a token's attributes stand in tokenizer.json, and transformers takes them from there
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **self.config, **self.words}
        write_text(Path(folder) / "tokenizer_config.json", json.dumps(config, ensure_ascii=False, indent=2) + "\n")
        (Path(folder) / "chat_template.jinja").unlink(missing_ok=True)  # it would come before the one just written

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, all of it plain text."""
        return self.encode_plain(text).ids

    def encode_plain(self, text: str) -> tokenizers.Encoding:
        """The `ids` of `text`, all of it plain text, and the `offsets` [start, end) of their characters in it."""
        return self.core.encode(require_whole(text), add_special_tokens=False)

    def encode_framed(
        self, texts: Sequence[str | tuple[str, str]], most: int | None = None
    ) -> list[tokenizers.Encoding]:
        """Each text's, or each pair's, `ids` with the special tokens that frame them ([CLS] text [SEP], text/frame.py),
        and `type_ids`: which segment a token belongs to, 0 or 1.

        With `most` tokens given a longer text is cut, of a pair the longer one, and the special tokens stay.
        """
        core = self.framed.core if most is None else self.framed._cutting_core(most)
        for text in texts:
            for part in (text,) if isinstance(text, str) else text:
                require_whole(part)
        return core.encode_batch(list(texts), add_special_tokens=True)

    def encode_marked(self, texts: list[str]) -> list[tokenizers.Encoding]:
        """Each marked text's `ids` and `offsets`: special tokens count unless shielded (`text/marks.py`)."""
        found = self._marked_core.encode_batch([require_whole(text) for text in texts], add_special_tokens=False)
        for text, encoding in zip(texts, found, strict=True):
            if marks.BREAK in text:
                self._require_shielded(text, encoding)
        return found

    def shield(self, text: str) -> str:
        """A person's text, made safe to stand in a marked text."""
        return marks.shield(text, self._pattern)

    def decode(self, ids: list[int], skip_special: bool = False) -> str:
        """The text of `ids`; bytes that are no character become U+FFFD."""
        return self.core.decode(list(ids), skip_special_tokens=skip_special)

    def stream(self, skip_special: bool = False) -> Stream:
        """A decoder for ids that come one by one."""
        return Stream(lambda ids: self.decode(ids, skip_special))

    def id(self, token: str) -> int:
        """The id of one token; a string that is none is refused."""
        found = self.core.token_to_id(token)
        if found is None:
            raise Refusal("the vocabulary must hold the token", repr(token), nearest(token, sorted(self.specials)))
        return found

    @cached_property
    def vocab_size(self) -> int:
        """How many rows an embedding needs: the largest id, added tokens included, plus one."""
        return max(max(self.core.get_added_tokens_decoder(), default=-1) + 1, self.core.get_vocab_size(False))

    @cached_property
    def specials(self) -> dict[str, int]:
        """Special token -> id, in the order of the ids."""
        added = sorted(self.core.get_added_tokens_decoder().items())
        return {token.content: number for number, token in added if token.special}

    @property
    def bos_id(self) -> int | None:
        """The id that begins a document, if the tokenizer names one."""
        return self._role("bos_token")

    @property
    def eos_id(self) -> int | None:
        """The id that ends a document or, in many chat models, a turn."""
        return self._role("eos_token")

    @property
    def pad_id(self) -> int | None:
        """The id that fills a batch. In many models it equals `eos_id`: never tell padding by its id."""
        return self._role("pad_token")

    @cached_property
    def stops(self) -> frozenset[int]:
        """The ids that end a generation: the end of a document, and what the template ends a turn with."""
        ends = {self.eos_id, self.specials.get(self._end_of_turn or "")}
        return frozenset(number for number in ends if number is not None)

    @cached_property
    def framed(self) -> "Tokenizer":
        """This tokenizer, with a post-processor that frames texts: what a folder needs whose model reads them whole."""
        core = frame.framing(self.core, self.words)
        return self if core is self.core else Tokenizer(core, self.config)

    @cached_property
    def around_prompt(self) -> tuple[list[int], list[int]]:
        """The ids before and after a text that a decoder goes on with."""
        return frame.around_prompt(self.core, self.words)

    @cached_property
    def around_source(self) -> tuple[list[int], list[int]]:
        """The ids before and after a text that an encoder reads for another to be written, and around that one."""
        return frame.around_source(self.core, self.words)

    @property
    def template(self) -> str | None:
        """The Jinja source of the chat template, if there is one."""
        return self.config.get("chat_template")

    @cached_property
    def words(self) -> dict[str, str]:
        """The special tokens that a template may name: `bos_token`, `eos_token`, ..."""
        return special.words(self.config)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """What makes this tokenizer this one."""
        parts = json.loads(self._json)
        return Fingerprint(
            normalizer=digest([parts["normalizer"], parts["pre_tokenizer"], parts["decoder"]]),
            merges=digest(parts["model"]),
            specials=self.specials,
            roles={"bos": self.bos_id, "eos": self.eos_id, "pad": self.pad_id},
            probe=tuple(self.encode(PROBE)),
            template=None if self.template is None else digest(self.template),
            frame=digest([probe.ids for probe in self.encode_framed([PROBE, (PROBE, PROBE)])]),
        )

    def _role(self, name: str) -> int | None:
        word = self.words.get(name)
        return None if word is None else self.core.token_to_id(word)

    @cached_property
    def _json(self) -> str:
        return self.core.to_str(pretty=True)

    @cached_property
    def _end_of_turn(self) -> str | None:
        return None if self.template is None else template.end_of_turn(self.template, self.words, list(self.specials))

    @cached_property
    def _pattern(self):
        return marks.pattern(list(self.specials))

    @cached_property
    def _marked_core(self) -> tokenizers.Tokenizer:
        """The same tokenizer, but special tokens count, BREAKs vanish, and spans keep their leading spaces."""
        parts = json.loads(self._json)
        core = tokenizers.Tokenizer.from_str(json.dumps({**parts, "post_processor": None}))
        steps = [normalizers.Replace(marks.BREAK, "")] + ([core.normalizer] if core.normalizer else [])
        core.normalizer = normalizers.Sequence(steps)
        core.encode_special_tokens = False
        return core

    def _cutting_core(self, most: int) -> tokenizers.Tokenizer:
        """The same tokenizer, with texts cut to `most` tokens."""
        core = tokenizers.Tokenizer.from_str(self._json)
        core.encode_special_tokens = True
        core.enable_truncation(most)
        return core

    def _require_shielded(self, text: str, encoding: tokenizers.Encoding) -> None:
        """A token that is looked for after normalisation would be found in spite of the BREAK."""
        numbers = set(self.specials.values())
        for number, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if number in numbers and marks.BREAK in text[start:end]:
                must = "special tokens must be found before normalisation, so that a message cannot forge one"
                found = f"{marks.unshield(text[start:end])!r} with `normalized: true`"
                raise Refusal(must, found, "set `normalized` to false for it in tokenizer.json")
