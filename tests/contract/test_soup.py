"""Averages of models and ensembles of them, against torch, sklearn and transformers."""

import numpy as np
import pytest
import torch
import transformers
from torch.optim.swa_utils import AveragedModel

import viva
from viva.base.errors import Refusal
from viva.cli import main
from viva.evaluate.ensemble import ensemble
from viva.model import folder
from viva.model.arch import bert, llama
from viva.model.head import classify
from viva.model.init import initialise
from viva.text.tokens.learn import byte_bpe

LINES = ["the cat sees a dog", "the old dog hears a small cat", "a red cat likes the dog"] * 5


def tokenizer(size=280):
    return byte_bpe.Config(vocab_size=size).learn(LINES)


def saved(place, seed, config=llama.TINY, tokens=None, labels=None):
    """A folder with a model of its own weights."""
    tokens = tokens or tokenizer()
    config = config.model_copy(update={"vocab": tokens.vocab_size})
    model = initialise(config.spec().build(), seed)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed + number)) * 0.2)
    folder.save(place, config, model, tokens, {"labels": labels} if labels else {})
    return str(place)


def test_a_soup_is_what_torch_averages(tmp_path, capsys):
    """AveragedModel with equal weights (SWA) over the same models."""
    places = [saved(tmp_path / str(seed), seed) for seed in range(3)]
    assert main(["average", *places, "--out", str(tmp_path / "soup")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'soup'}: the mean of 3 models\n"
    models = [viva.load(place).model for place in places]
    theirs = AveragedModel(models[0])
    for model in models:
        theirs.update_parameters(model)
    found, expected = viva.load(tmp_path / "soup").model.state_dict(), theirs.module.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-7)
    assert folder.manifest(tmp_path / "soup")["averaged"] == places


def shallower(place):
    return saved(place, 1, llama.TINY.model_copy(update={"layers": 1}))


def told_otherwise(place):
    lines = ["never always old small big but hears a fox and runs"] * 9
    return saved(place, 1, tokens=byte_bpe.Config(vocab_size=280).learn(lines))


@pytest.mark.parametrize(("other", "message"), [
    (shallower, r"must have the architecture of the first model, but found layers=1 \(the first: 2\)"),
    (told_otherwise, "b needs its own tokenizer: the id at place"),
])  # fmt: skip
def test_what_cannot_be_averaged_is_refused(tmp_path, other, message):
    first = saved(tmp_path / "a", 0)
    with pytest.raises(Refusal, match=message):
        main(["--debug", "average", first, other(tmp_path / "b"), "--out", str(tmp_path / "soup")])
    assert not (tmp_path / "soup").exists()


def test_one_model_is_no_average(tmp_path, capsys):
    assert main(["average", saved(tmp_path / "a", 0), "--out", str(tmp_path / "soup")]) == 2
    assert "an average must be of two models at least, but found 1" in capsys.readouterr().err


def classifiers(tmp_path, *labels):
    config = bert.TINY.model_copy(update={"head": classify.Config(labels=3, dense="tanh")})
    return [viva.load(saved(tmp_path / str(n), 7 * n, config, labels=each)) for n, each in enumerate(labels)]


def test_an_ensemble_has_the_mean_of_what_transformers_tells(tmp_path):
    members = classifiers(tmp_path, ("a", "b", "c"), ("a", "b", "c"))
    texts = ["the cat", "a red dog hears", "small"]
    found = ensemble(members, texts)
    means = []
    for member in members:
        twin = transformers.AutoModelForSequenceClassification.from_pretrained(member.source).eval()
        ids = [member.tokenizer.encode_framed([text])[0].ids for text in texts]
        means.append(np.concatenate([twin(torch.tensor([i])).logits.softmax(-1).detach().numpy() for i in ids]))
    expected = np.mean(means, 0)
    assert np.abs(means[0] - means[1]).max() > 0.01
    np.testing.assert_allclose([[*each.probabilities.values()] for each in found], expected, atol=1e-5)
    assert [each.label for each in found] == [["a", "b", "c"][k] for k in expected.argmax(1)]
    assert [each.probability for each in found] == pytest.approx(expected.max(1).tolist(), abs=1e-5)


def test_members_with_other_classes_are_refused(tmp_path):
    members = classifiers(tmp_path, ("a", "b", "c"), ("a", "b", "d"))
    with pytest.raises(Refusal, match="must tell the same classes apart"):
        ensemble(members, ["the cat"])
    with pytest.raises(Refusal, match="an ensemble must have two members at least, but found 1"):
        ensemble(members[:1], ["the cat"])
