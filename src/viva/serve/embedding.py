"""/v1/embeddings: vectors of texts, by a model of its own."""

import asyncio
import base64
import threading
import time
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

from viva.api import LanguageModel
from viva.base.errors import Refusal
from viva.infer.use import require_head
from viva.serve import log
from viva.serve.errors import Trouble, late, refused
from viva.serve.limits import Limits
from viva.serve.places import Places
from viva.serve.schema import embedding as schema

MOST = 2048  # texts of a request, as OpenAI's API has it


class Embedder:
    """A model with the head `embed`, under its name; it reads the texts of one request at a time."""

    def __init__(self, model: LanguageModel, name: str, limits: Limits):
        require_head(model.model, "embed")
        self.model, self.name, self.timeout = model, name, limits.timeout
        self.places = Places(1, limits.queue)
        self._turn = asyncio.Lock()

    async def answer(self, body: schema.Request, facts: dict[str, Any], show: bool = False) -> schema.Response:
        """A vector for each text, in their order; the log is told `facts`, with `show` the texts too. A text that
        is longer than the model reads is refused.
        """
        if body.model != self.name:
            message = f"model must be {self.name} for embeddings, but is {body.model!a}"
            raise Trouble(404, message, "model", "model_not_found")
        if len(body.texts) > MOST:
            raise Trouble(400, f"input must have at most {MOST} texts, but has {len(body.texts)}", "input")
        facts |= log.asked(body, show)
        self.places.take(1)
        began, gone = time.monotonic(), threading.Event()
        try:
            async with asyncio.timeout(self.timeout), self._turn:
                vectors, tokens = await asyncio.to_thread(self._read, body.texts, gone)
        except Refusal as refusal:
            raise refused(refusal, "input") from None
        except TimeoutError:
            raise late(self.timeout) from None
        finally:
            gone.set()
            self.places.leave(1, time.monotonic() - began)
        written = _base64 if body.encoding_format == "base64" else Tensor.tolist
        data = [schema.Embedding(index=i, embedding=written(vector)) for i, vector in enumerate(vectors)]
        facts["prompt_tokens"] = tokens
        usage = schema.Usage(prompt_tokens=tokens, total_tokens=tokens)
        return schema.Response(data=data, model=self.name, usage=usage)

    def _read(self, texts: list[str], gone: threading.Event) -> tuple[Tensor, int]:
        """The vectors, and how many tokens were read; no further than until nobody waits any more."""
        lengths = [len(encoding.ids) for encoding in self.model.tokenizer.encode_framed(texts)]
        most = self.model.text_reach
        if long := [number for number, length in enumerate(lengths) if length > most]:
            found = f"{lengths[long[0]]} in text {long[0]}: shorten it, or send it in parts"
            message = f"input must have texts of at most {most} tokens, but has {found}"
            raise Trouble(400, message, "input", "context_length_exceeded")
        found = [*takewhile(lambda some: not gone.is_set(), self.model.vectors(texts))]
        return torch.cat(found).float().cpu(), sum(lengths)


def _base64(vector: Tensor) -> str:
    return base64.b64encode(vector.numpy().astype("<f4").tobytes()).decode()
