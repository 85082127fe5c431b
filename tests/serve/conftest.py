"""A server of a tiny random model, with an adapter and a model for embeddings, that the tests of a process share."""

import pytest
import torch

import viva
from viva.model import adapt, adapter, folder
from viva.model.adapt import lora
from viva.model.arch import bert
from viva.model.head import embed
from viva.model.init import initialise
from viva.serve.embedding import Embedder
from viva.serve.engine import Engine
from viva.serve.limits import Limits

from .live import Scripted, served, tiny


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory):
    """The folder of the model."""
    return tiny(tmp_path_factory.mktemp("served") / "tiny")


@pytest.fixture(scope="session")
def model(tiny_path):
    """The same, asked without a server."""
    return viva.load(tiny_path)


@pytest.fixture(scope="session")
def changed(tiny_path, tmp_path_factory):
    """The folder of an adapter that changes what the model says."""
    attached, config = viva.load(tiny_path).model, lora.Config(rank=2)
    adapt.attach(attached, config)
    with torch.no_grad():
        for change in adapt.changes(attached):
            for parameter in change.parameters():
                parameter.normal_(generator=torch.Generator().manual_seed(3))
    made = adapter.Adapter(config=config, base=str(tiny_path), fingerprint=adapter.fingerprint(tiny_path))
    where = tmp_path_factory.mktemp("adapters") / "changed"
    adapter.save(where, made, attached, notes={"parent": str(tiny_path)})
    return where


@pytest.fixture(scope="session")
def encoder(tiny_path, tmp_path_factory):
    """A model that makes vectors."""
    tokenizer = viva.load_tokenizer(tiny_path)
    config = bert.TINY.model_copy(update={"vocab": tokenizer.vocab_size, "context": 64, "head": embed.Config()})
    where = tmp_path_factory.mktemp("encoders") / "vectors"
    folder.save(where, config, initialise(config.spec().build(), seed=2), tokenizer, {})
    return viva.load(where)


@pytest.fixture(scope="session")
def server(model, changed, encoder):
    """The server."""
    engine = Engine(model, {"changed": changed}, tokens=8192)
    with served(engine, embedder=Embedder(encoder, "vectors", Limits())) as running:
        yield running


@pytest.fixture
def scripted(model):
    """A server whose model says what `scripted.engine.script` is."""
    with served(Scripted(model, tokens=4096)) as running:
        yield running
