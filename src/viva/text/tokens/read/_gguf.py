"""What a GGUF file says of itself: its keys and values, without the tensors
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). The library gguf takes seconds for 50,000 tokens.
"""

import struct
from pathlib import Path
from typing import Any, BinaryIO

from viva.base.errors import Refusal

MAGIC = b"GGUF"
VERSIONS = (2, 3)
NUMBERS = dict(enumerate(["B", "b", "H", "h", "I", "i", "f", "?"])) | {10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


def keys(file: Path) -> dict[str, Any]:
    """Every key with its value: a number, a string, or a list of them."""
    try:
        with open(file, "rb") as opened:
            magic, version, _tensors, count = opened.read(4), *_numbers(opened, "IQQ")
            if magic != MAGIC or version not in VERSIONS:
                found = f"{magic!r} of version {version}"
                raise Refusal(f"{file} must be a GGUF file of version 2 or 3", found, "convert the model again")
            return {_string(opened): _value(opened, *_numbers(opened, "I")) for _ in range(count)}
    except (struct.error, UnicodeDecodeError, KeyError, MemoryError, OverflowError) as error:
        raise Refusal(f"{file} must be an intact GGUF file", error, "fetch it again") from None


def _numbers(opened: BinaryIO, form: str) -> tuple:
    form = f"<{form}"
    return struct.unpack(form, opened.read(struct.calcsize(form)))


def _string(opened: BinaryIO) -> str:
    return opened.read(*_numbers(opened, "Q")).decode("utf-8")


def _value(opened: BinaryIO, kind: int) -> Any:
    if kind == STRING:
        return _string(opened)
    if kind != ARRAY:
        return _numbers(opened, NUMBERS[kind])[0]
    inner, length = _numbers(opened, "IQ")
    if inner in NUMBERS:
        return list(_numbers(opened, f"{length}{NUMBERS[inner]}"))
    return [_value(opened, inner) for _ in range(length)]
