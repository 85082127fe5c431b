"""What a policy was asked, and what it replied."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """The ids that a reply goes on from, their text without special tokens, and what the data say is the `answer`; ""
    where they say none. `number` is the document's; `tail`, the ids that a document has behind an answer that ends it.
    """

    ids: list[int]
    text: str
    answer: str
    number: int
    tail: tuple[int, ...] = ()


@dataclass(frozen=True)
class Reply:
    """The tokens drawn, the id that ended them among them where `ended`; `logs`: the log-probability with which the
    sampler drew each, in nats; `text`: without what ended it.
    """

    prompt: Prompt
    ids: list[int]
    logs: list[float]
    text: str
    ended: bool
