"""/v1/embeddings: texts in, a vector for each out."""

from typing import Annotated, Literal

from pydantic import Field

from viva.serve.schema.common import Absent, Answer, Asked

Text = Annotated[str, Field(min_length=1)]


class Request(Asked):
    """What /v1/embeddings takes."""

    model: str = Field(min_length=1, max_length=512, description="one that /v1/models names")
    input: Text | list[Text] = Field(min_length=1, description="a text, or 2048 of them at most")
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = Field(None, max_length=256, description="goes to the log")
    dimensions: Absent = None

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input


class Embedding(Answer):
    """A vector: numbers, or base64 of them as little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(Answer):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class Response(Answer):
    """What is answered."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage
