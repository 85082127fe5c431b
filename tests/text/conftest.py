"""A small tokenizer of our own, and its twin in transformers."""

import pytest
from hypothesis import HealthCheck, settings

from viva.text.learn import byte_bpe
from viva.text.tokenizer import Tokenizer

# A busy machine is slow, not wrong.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

TEXTS = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind at all. It is what it is.\n" * 3,
    "模型把文本切成词元，再预测下一个词元。今天天气很好，我们去公园散步。\n" * 3,
    "def add(a: int, b: int) -> int:\n    return a + b\n\n\nclass Point:\n    x: int = 0\n    y: int = 12\n" * 3,
    "Question: what is 12 + 34? Answer: 46. user assistant system role content\n" * 3,
]


@pytest.fixture(scope="session")
def ours() -> Tokenizer:
    return byte_bpe.train(TEXTS, byte_bpe.Config(vocab_size=420))


@pytest.fixture(scope="session")
def twin(ours, tmp_path_factory):
    """The same tokenizer as transformers opens it."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    ours.save(folder)
    return AutoTokenizer.from_pretrained(folder)
