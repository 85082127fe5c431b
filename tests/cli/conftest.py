"""A tiny model that every verb can use, and a way to run a verb in this process."""

import pytest

from viva.cli import main
from viva.model import folder
from viva.model.arch import llama
from viva.model.init import initialise
from viva.text.tokens.learn import byte_bpe


@pytest.fixture(scope="session")
def tiny_of(tmp_path_factory):
    """Makes a checkpoint folder of a random model of a family, with a tokenizer and chat template."""
    tokenizer = byte_bpe.train(["some words to merge, some words to learn\n" * 3], byte_bpe.Config(vocab_size=300))

    def made(family, **changes):
        path = tmp_path_factory.mktemp("models") / "tiny"
        config = family.TINY.model_copy(update={"vocab": tokenizer.vocab_size, "context": 96, **changes})
        folder.save(path, config, initialise(config.spec().build()), tokenizer, {"step": 7, "data": "abc"})
        return path

    return made


@pytest.fixture(scope="session")
def tiny(tiny_of):
    """A decoder."""
    return tiny_of(llama)


@pytest.fixture
def viva(capsys):
    """Run a command line; returns (exit code, stdout, stderr)."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run
