"""Classes told by a decoder that goes on with a few examples in its context (Brown et al. 2020,
https://arxiv.org/abs/2005.14165, section 2.4): the word of which class is the likeliest to follow.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise

import torch

from viva.base.errors import Refusal
from viva.infer.classify import Prediction, prediction
from viva.infer.given import given
from viva.infer.pattern import TEXT, WORD, require_pattern
from viva.infer.together import require_fit
from viva.model.layout import Layout
from viva.model.whole import Whole
from viva.text.tokens.characters import require_list


def demonstrated(
    texts: Sequence[str], examples: Sequence[tuple[str, str]], pattern: str, words: Mapping[str, str]
) -> list[str]:
    """The prompts: the pattern with each example, a text and the word of its class, and once more up to the place of
    the word.
    """
    require_pattern(pattern, words)
    if pattern.index(TEXT) > pattern.index(WORD):
        must = f"a pattern must have {WORD} behind {TEXT} for a decoder to go on with it"
        raise Refusal(must, repr(pattern), r"write for example 'Review: {text}\nSentiment: {word}\n\n'")
    shown = "".join(_filled(pattern, text, word) for text, word in _worded(examples, words))
    open_ = pattern[: pattern.index(WORD)].rstrip()
    return [shown + open_.replace(TEXT, text) for text in texts]


def _worded(examples: Sequence[tuple[str, str]], words: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each example's text with the word of its class."""
    for example in require_list(examples, "examples"):
        match example:
            case [str(text), label] if label in [*words]:
                yield text, words[label]
            case [str(), label]:
                raise Refusal("each example must be of a class that has a word", label, "give it one in words")
            case _:
                fix = "give for example ('a fine film', 'positive')"
                raise Refusal("each example must be a text and its class", f"{example!r:.80}", fix)


def _filled(pattern: str, text: str, word: str) -> str:
    head, tail = pattern.split(WORD)
    return head.replace(TEXT, text) + word + tail


def follows(pattern: str, word: str) -> str:
    """What follows a prompt where the word stands: the word, with the space that the pattern has before it."""
    head = pattern[: pattern.index(WORD)]
    return head[len(head.rstrip()) :] + word


def ranked(model: Whole, prompts: Sequence[list[int]], words: Mapping[str, list[int]]) -> list[Prediction]:
    """The class of each prompt by log p(word | prompt), summed over the word's tokens; the probabilities are those of
    the words among each other. Prompts and words are ids; refused: a prompt that is longer than the model reads.
    """
    longest = max(map(len, words.values()), default=0)
    require_fit(model, "a prompt with its examples and a word", max(map(len, prompts), default=0) + longest)
    return [prediction(_log_probs(model, prompt, words).softmax(0).tolist(), list(words)) for prompt in prompts]


@torch.no_grad()
def _log_probs(model: Whole, prompt: list[int], words: Mapping[str, list[int]]) -> torch.Tensor:
    """log p of each word behind the prompt [K], all in one row; scores are made of the words' tokens alone."""
    read = [[*prompt, *word] for word in words.values()]
    ids = given(model, [[token for each in read for token in each]])
    layout = Layout.packed((tuple(map(len, read)),), ids.shape[1], ids.device)
    hidden = model.hidden(ids, layout)[0]
    ends = [0, *accumulate(map(len, read))]
    sizes = list(map(len, words.values()))
    before = [end - 1 - size + k for (_, end), size in zip(pairwise(ends), sizes, strict=True) for k in range(size)]
    scores = model.logits(hidden[before]).float().log_softmax(-1)
    targets = ids[0, [place + 1 for place in before]]
    return torch.stack([own.sum() for own in scores.gather(1, targets[:, None])[:, 0].split(sizes)])
