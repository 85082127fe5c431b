"""Replies of a policy to prompts, drawn as a function of a seed and of each prompt's place."""

from collections.abc import Sequence

import torch
from pydantic import Field

from viva.align.reply import Prompt, Reply
from viva.base.config import Config
from viva.infer.decode import Decoding
from viva.infer.generate import generate_batch
from viva.infer.sample.temperature import LEAST
from viva.infer.sampling import Sampling
from viva.model.transformer import Transformer
from viva.text.tokens.tokenizer import Tokenizer


class Rollout(Config):
    """`replies` to each prompt of at most `max_new_tokens` tokens, drawn at a `temperature`. No other filter: the
    gradient is that of the distribution that was drawn from.
    """

    replies: int = Field(8, ge=1)
    max_new_tokens: int = Field(64, ge=1)
    temperature: float = Field(1.0, ge=LEAST)

    def drawn(self, model: Transformer, tokenizer: Tokenizer, prompts: Sequence[Prompt], seed: int) -> list[Reply]:
        """`replies` to the first prompt, then to the next; reply i is a function of the seed, i and its prompt."""
        sampling = Sampling(temperature=self.temperature, max_new_tokens=self.max_new_tokens, seed=seed)
        return _replies(model, tokenizer, [prompt for prompt in prompts for _ in range(self.replies)], sampling)

    def likeliest(self, model: Transformer, tokenizer: Tokenizer, prompts: Sequence[Prompt]) -> list[Reply]:
        """One reply to each prompt, the most likely token each time."""
        return _replies(model, tokenizer, prompts, Sampling(temperature=0.0, max_new_tokens=self.max_new_tokens))


def _replies(model: Transformer, tokenizer: Tokenizer, prompts: Sequence[Prompt], sampling: Sampling) -> list[Reply]:
    watch = _Watch(len(prompts), sampling.temperature or 1.0)
    drawn = generate_batch(model, [prompt.ids for prompt in prompts], sampling, tokenizer.stops, watch=watch)
    return [reply(tokenizer, prompt, ids, logs) for prompt, ids, logs in zip(prompts, drawn, watch.logs, strict=True)]


def reply(tokenizer: Tokenizer, prompt: Prompt, ids: list[int], logs: list[float]) -> Reply:
    """A reply with its text; a stop id at its end is what ended it."""
    ended = ids[-1] in tokenizer.stops
    return Reply(prompt, ids, logs, tokenizer.decode(ids[: len(ids) - ended]), ended)


class _Watch:
    """Notes down with which log-probability each token is drawn."""

    def __init__(self, rows: int, temperature: float):
        self.logs: list[list[float]] = [[] for _ in range(rows)]
        self.temperature = temperature

    def __call__(self, decoding: Decoding, tokens: list[int]) -> None:
        scores = decoding.logits.float() / self.temperature
        aims = torch.tensor(tokens, device=scores.device)
        found = scores.gather(1, aims[:, None])[:, 0] - scores.logsumexp(1)
        for row, log in zip(decoding.rows, found.tolist(), strict=True):
            self.logs[row].append(log)
