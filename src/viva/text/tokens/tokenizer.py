"""Ids from text and text from ids; kept in tokenizer.json, and tokenizer_config.json with the chat template."""

import json
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, normalizers

from viva.base.errors import Notice, Refusal, nearest
from viva.base.files import write_text
from viva.text.tokens import frame, marks, read, special, template
from viva.text.tokens.byte_level import BYTE, decodes_bytes, misread, token_bytes
from viva.text.tokens.byte_pairs import Unfit
from viva.text.tokens.characters import require_whole
from viva.text.tokens.decoder import steady
from viva.text.tokens.fast import Fast, Marked
from viva.text.tokens.fingerprint import PROBE, Fingerprint, digest
from viva.text.tokens.stream import Bytes, Stream, Tokens
from viva.text.tokens.templates import named

PAYS = 16  # characters, a token of the vocabulary, that `tokenizers` encodes while the fast way is prepared


class Tokenizer:
    """Ids from text and text from ids.

    In a person's text nothing is special: `encode("<|im_end|>")` gives the ids of these ten characters. Special
    tokens enter by `id`, or by a chat template (`text/talk/chat.py`) through `encode_marked`.
    """

    def __init__(self, core: tokenizers.Tokenizer, config: dict[str, Any]):
        """`core` does the work; `config` is what tokenizer_config.json holds, the template included."""
        core.no_truncation()  # a file may ask for it; here nothing is cut without a word
        core.no_padding()
        special.add_named(core, config)
        core.encode_special_tokens = True
        self.core, self.config = core, config
        self._asked = 0  # characters encoded so far

    @classmethod
    def load(cls, path: str | Path, **told: Any) -> "Tokenizer":
        """The tokenizer in a file or a folder, of any form in text/tokens/read.

        `told` is what a form leaves open and no file beside it says: `pattern="llama3"`, `do_lower_case=False`.
        """
        made = cls(*frame.own(*read.read(path, told)))
        tokens = [str(token) for token in made.core.get_added_tokens_decoder().values()] if made.byte_level else []
        if wrong := [token for token in tokens if misread(token)]:
            text = f"decoding takes added tokens for bytes, here and in transformers: {', '.join(map(repr, wrong))}"
            warnings.warn(Notice(text), stacklevel=2)
        return made

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, as `transformers.AutoTokenizer` reads them."""
        write_text(Path(folder) / "tokenizer.json", self._json)
        # words: a token's attributes stand in tokenizer.json, and transformers takes them from there
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **self.config, **self.words}
        if isinstance(found := config.get("chat_template"), dict):
            config["chat_template"] = [{"name": name, "template": source} for name, source in found.items()]
        write_text(Path(folder) / "tokenizer_config.json", json.dumps(config, ensure_ascii=False, indent=2) + "\n")
        for file in (Path(folder) / "chat_template.jinja", *(Path(folder) / special.MORE_TEMPLATES).glob("*.jinja")):
            file.unlink(missing_ok=True)  # it would come before those just written

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, all of it plain text."""
        return self._encode(require_whole(text))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each of `texts`, on every core."""
        texts = [require_whole(text) for text in texts]
        fast = self._fast_for(sum(map(len, texts)))
        if fast is None:
            return [found.ids for found in self.core.encode_batch_fast(texts, add_special_tokens=False)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # the work is done in Rust, without Python's lock
            return list(pool.map(self._encode, texts))

    def encode_plain(self, text: str) -> tokenizers.Encoding:
        """The `ids` of `text`, all of it plain text, and the `offsets` [start, end) of their characters in it."""
        return self.core.encode(require_whole(text), add_special_tokens=False)

    def encode_framed(
        self, texts: Sequence[str | tuple[str, str]], most: int | None = None
    ) -> list[tokenizers.Encoding]:
        """Each text's, or each pair's, `ids` with the special tokens that frame them ([CLS] text [SEP], see frame.py),
        and `type_ids`: which segment a token belongs to, 0 or 1.

        With `most` tokens given a longer text is cut, of a pair the longer one, and the special tokens stay.
        """
        core = self.framed.core if most is None else self.framed._cutting_core(most)
        for text in texts:
            for part in (text,) if isinstance(text, str) else text:
                require_whole(part)
        return core.encode_batch(list(texts), add_special_tokens=True)

    def encode_marked(self, texts: list[str]) -> list[tokenizers.Encoding | Marked]:
        """Each marked text's `ids` and `offsets`: special tokens count unless shielded (`text/tokens/marks.py`)."""
        texts = [require_whole(text) for text in texts]
        fast = self._fast_for(sum(map(len, texts)))
        found = [fast and fast.marked(text) for text in texts]
        slow = iter(self.marked_encodings([text for text, one in zip(texts, found, strict=True) if one is None]))
        return [next(slow) if one is None else one for one in found]

    def marked_encodings(self, texts: list[str]) -> list[tokenizers.Encoding]:
        """`encode_marked` with all that `tokenizers` tells of each token, its string and its word among it."""
        found = self._marked_core.encode_batch(texts, add_special_tokens=False)
        for text, encoding in zip(texts, found, strict=True):
            if marks.BREAK in text:
                self._require_shielded(text, encoding)
        return found

    def shield(self, text: str) -> str:
        """A person's text, made safe to stand in a marked text."""
        return marks.shield(text, self._pattern)

    def decode(self, ids: list[int], skip_special: bool = False) -> str:
        """The text of `ids`; bytes that are no character become U+FFFD."""
        return self._decoding.decode(list(ids), skip_special_tokens=skip_special)

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """The bytes of `ids`, which need not be UTF-8; refused where tokens are not made of bytes."""
        if not self._bytewise:
            must = "a tokenizer must be byte-level for its ids to have bytes"
            raise Refusal(must, f"the decoder {self._decoder and self._decoder['type']}", "use decode")
        return b"".join(map(self._spell, ids))

    def spelled(self, number: int, first: bool = False) -> bytes:
        """What an id adds to the text of others, or to none as the `first`: there a word may lose its space."""
        if self._bytewise or (self._waits(number) and not self._spell(number).isascii()):
            return self._spell(number)
        text = self.decode([number])
        return (text if first else self.decode([number, number])[len(text) :]).encode()

    def stream(self, skip_special: bool = False) -> Stream:
        """A decoder for ids that come one by one. What it emits is final and, joined, what `decode` gives for all."""
        skipped = frozenset(self.specials.values()) if skip_special else frozenset()
        if self._bytewise:
            return Bytes(lambda number: b"" if number in skipped else self._spell(number))
        drops = lambda number: number in skipped or self.core.id_to_token(number) is None  # noqa: E731
        return Tokens(self.decode, self._waits, drops)

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
    def longest(self) -> int:
        """How many characters of the vocabulary's file its longest token has, which are at least those of its text."""
        return max(map(len, self.core.get_vocab()))

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
    def byte_level(self) -> bool:
        """Whether the characters of its tokens stand for bytes."""
        return "ByteLevel" in self._steps

    @cached_property
    def framed(self) -> "Tokenizer":
        """This tokenizer, with a post-processor that frames texts: what a folder needs whose model reads them whole."""
        return self.written(frame.around_whole)

    @property
    def by_use(self) -> bool:
        """Whether texts around which the post-processor sets nothing are framed by what they are for (see frame.py)."""
        return frame.by_use(self.config)

    @cached_property
    def for_training(self) -> "Tokenizer":
        """This tokenizer as viva trains with it: texts are framed by what they are for."""
        return self if self.by_use else Tokenizer(self.core, frame.marked(self.core, self.config))

    def written(self, around: frame.Around) -> "Tokenizer":
        """This tokenizer as a folder holds it, `around` each text in the post-processor; a published one as it is."""
        return Tokenizer(*frame.written(self.core, self.config, self.words, around)) if self.by_use else self

    @cached_property
    def templates(self) -> dict[str, str]:
        """The Jinja sources of the chat templates by name; most tokenizers have a `default` alone, or none."""
        return special.by_name(self.config.get("chat_template"))

    @cached_property
    def around_prompt(self) -> tuple[list[int], list[int]]:
        """The ids before and after a text that a decoder goes on with."""
        return frame.around_prompt(self.core, self._framing)

    @cached_property
    def around_source(self) -> tuple[list[int], list[int]]:
        """The ids before and after a text that an encoder reads for another to be written, and around that one."""
        return frame.around_source(self.core, self._framing)

    @cached_property
    def around_whole(self) -> tuple[list[int], list[int]]:
        """The ids before and after a text that is read whole."""
        return frame.around_whole(self.core, self._framing)

    @property
    def template(self) -> str | None:
        """The chat template for conversations without tools, if there is one."""
        return self.templates.get("default")

    def template_for(self, tools: Any) -> str | None:
        """The chat template that transformers would take: `tool_use`, where there is one and tools are given."""
        return self.template if tools is None else self.templates.get("tool_use", self.template)

    def with_template(self, name: str) -> "Tokenizer":
        """This tokenizer with one of viva's chat templates (`tokens/templates`), and with the special tokens it needs:
        those that are missing get the next ids.
        """
        chosen = named(name)
        if lacking := [role for role in chosen.roles if role not in self.words]:
            must = f"a tokenizer must have the {' and the '.join(chosen.roles)} that the chat template {name} writes"
            raise Refusal(must, f"no {' and no '.join(lacking)}", "name it in tokenizer_config.json")
        core = tokenizers.Tokenizer.from_str(self._json)
        missing = [token for token in chosen.tokens if token not in self.specials]
        core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in missing])
        return Tokenizer(core, {**self.config, "chat_template": chosen.source})

    @cached_property
    def words(self) -> dict[str, str]:
        """The special tokens that a template may name: `bos_token`, `eos_token`, ..."""
        return special.words(self.config)

    @property
    def _framing(self) -> dict[str, str]:
        """The special tokens, role -> token, that may stand around a text around which the post-processor sets none."""
        return self.words if self.by_use else {}

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """What makes this tokenizer this one."""
        parts = json.loads(self._json)
        framed = self.encode_framed([PROBE, (PROBE, PROBE)])
        roles = {word.removesuffix("_token"): self._role(word) for word in self.words}
        main = {"bos": self.bos_id, "eos": self.eos_id, "pad": self.pad_id}
        return Fingerprint(
            normalizer=digest([parts["normalizer"], parts["pre_tokenizer"], parts["decoder"]]),
            merges=digest(parts["model"]),
            specials=self.specials,
            roles=main,
            probe=tuple(self.encode(PROBE)),
            template=digest(self.config["chat_template"]) if self.templates else None,
            added={token["content"]: token["id"] for token in parts["added_tokens"] if not token["special"]},
            flags=special.flags(parts["added_tokens"]),
            other_roles={role: number for role, number in roles.items() if role not in main},
            frame=digest([probe.ids for probe in framed]),
            segments=digest([probe.type_ids for probe in framed]),
        )

    def _encode(self, text: str) -> list[int]:
        """The ids of a text of whole characters."""
        fast = self._fast_for(len(text))
        found = None if fast is None else fast.plain(text)
        return self.core.encode(text, add_special_tokens=False).ids if found is None else found

    def _fast_for(self, characters: int) -> Fast | None:
        """The fast way, from when as many characters were asked for as make it worth its preparation."""
        self._asked += characters
        return self._fast if self._asked > PAYS * self.vocab_size else None

    @cached_property
    def _fast(self) -> Fast | None:
        try:
            return Fast(self.core, json.loads(self._json))
        except Unfit:
            return None

    @cached_property
    def _decoding(self) -> tokenizers.Tokenizer:
        return steady(self.core, self._decoder)

    @cached_property
    def _decoder(self) -> dict[str, Any] | None:
        return json.loads(self._json)["decoder"]

    @cached_property
    def _steps(self) -> str:
        return json.dumps(self._decoder)

    @cached_property
    def _bytewise(self) -> bool:
        return decodes_bytes(self._decoder)

    def _spell(self, number: int) -> bytes:
        """The bytes of an id that stands for bytes; none of an id that is no token's."""
        token = self.core.id_to_token(number) or ""
        byte = None if self.byte_level else BYTE.fullmatch(token)
        return token_bytes(token) if byte is None else bytes.fromhex(byte[1])

    def _waits(self, number: int) -> bool:
        """Whether an id is, or may be, of a part of a character that the next one completes."""
        token = self.core.id_to_token(number) or ""
        if self.byte_level:
            return not token_bytes(token).isascii()
        return "ByteFallback" in self._steps and BYTE.fullmatch(token) is not None

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
        """A token that is looked for after normalisation would be found in spite of the BREAK.

        The unknown token may span one too: then the text, read as plain, has it as well.
        """
        numbers = set(self.specials.values())
        for number, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if number in numbers and marks.BREAK in text[start:end]:
                said = marks.unshield(text[start:end])
                if number not in self.encode(said):
                    must = "special tokens must be found before normalisation, so that a message cannot forge one"
                    fix = "set `normalized` to false for it in tokenizer.json"
                    raise Refusal(must, f"{said!r} with `normalized: true`", fix)
