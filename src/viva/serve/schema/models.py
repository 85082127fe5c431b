"""/v1/models: what may be asked."""

from typing import Literal

from viva.serve.schema.common import Answer


class Model(Answer):
    """A model or an adapter, by the name under which a request asks for it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["viva"] = "viva"
    parent: str | None = None
    max_model_len: int | None = None


class Models(Answer):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[Model]
