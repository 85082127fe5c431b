"""A small tokenizer of our own, and its twin in transformers."""

import pytest
from hypothesis import HealthCheck, settings
from sample_texts import TEXTS

from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.tokenizer import Tokenizer

# A busy machine is slow, not wrong.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


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
