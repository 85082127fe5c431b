"""An adapter as a small folder: written, read onto its base, refused by any other, and merged."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import viva
from shaken import shaken
from viva.base.errors import Refusal
from viva.model import adapt, adapter, folder
from viva.model.adapt import bottleneck, ia3, lora, p_tuning, prefix, prompt
from viva.model.arch import llama
from viva.model.init import initialise

KINDS = {
    "lora": lora.Config(rank=2, targets=("attention.q", "ffn.down")),
    "dora": lora.Config(rank=2, directed=True, targets=("attention.q", "attention.v", "ffn.up")),
    "qlora": lora.Config(rank=2, targets=("attention.q", "ffn.down"), quantize="nf4"),
    "ia3": ia3.Config(),
    "bottleneck": bottleneck.Config(hidden=4),
    "prompt": prompt.Config(length=3, text="so"),
    "p_tuning": p_tuning.Config(length=3, hidden=4),
    "prefix": prefix.Config(length=3),
    "mapped": prefix.Config(length=3, hidden=4),
}
FOLDED = {"p_tuning": p_tuning.Config(length=3, encoder=None), "mapped": prefix.Config(length=3)}  # once loaded
IDS = torch.arange(2 * 9).reshape(2, 9)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return made(tmp_path_factory.mktemp("base") / "base", 0)


def made(path, seed):
    config = llama.TINY.model_copy(update={"dropout": 0.0})
    folder.save(path, config, initialise(config.spec().build(), seed))
    return path


def tuned(base, kind, seed=0):
    """A model with an adapter of other numbers than those it begins with."""
    model = viva.load(base).model
    adapt.attach(model, KINDS[kind], encode=lambda text: [1, 2])
    return shaken(model, seed=seed)


def saved(base, kind, path, seed=0):
    """The folder of such an adapter, and the model that it was saved from."""
    model = tuned(base, kind, seed)
    what = adapter.Adapter(config=KINDS[kind], base=str(base), fingerprint=adapter.fingerprint(base))
    adapter.save(path, what, model)
    return path, model


def scores(model):
    with torch.no_grad():
        return model(IDS)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_is_read_back_bit_for_bit(base, tmp_path, kind):
    path, model = saved(base, kind, tmp_path / "adapter")
    assert {file.name for file in path.iterdir()} == {"adapter.safetensors", "viva.json"}
    for found in (viva.load(base, adapter=path), viva.load(path)):
        assert torch.equal(scores(found), scores(model))
        assert found.adapter.config == FOLDED.get(kind, KINDS[kind])


def test_adapters_of_one_base_share_its_weights_and_are_asked_in_any_order(base, tmp_path):
    places = {kind: saved(base, kind, tmp_path / kind, seed) for seed, kind in enumerate(KINDS)}
    plain = viva.load(base)
    models = {kind: plain.with_adapter(path) for kind, (path, _) in places.items()}
    for _ in range(2):
        for kind, (_, expected) in places.items():
            assert torch.equal(scores(models[kind]), scores(expected))
        assert torch.equal(scores(plain), scores(viva.load(base)))
    assert len({model.model.embedding.weight.data_ptr() for model in (plain, *models.values())}) == 1
    again = models["lora"].with_adapter(places["ia3"][0])  # takes the place of the first
    assert torch.equal(scores(again), scores(places["ia3"][1])) and again.base is plain


def test_a_loaded_adapter_is_saved_again_as_it_was(base, tmp_path):
    path, _ = saved(base, "lora", tmp_path / "adapter")
    viva.load(base, adapter=path).save(tmp_path / "again")
    viva.load(tmp_path / "again").save(tmp_path / "again")  # in its own place
    one, other = (load_file(place / adapter.FILE) for place in (path, tmp_path / "again"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_an_adapter_of_another_base_is_refused(base, tmp_path):
    path, _ = saved(base, "lora", tmp_path / "adapter")
    other = made(tmp_path / "other", 1)
    weights = [adapter.fingerprint(place)[:12] for place in (base, other)]
    with pytest.raises(Refusal) as refused:
        viva.load(other, adapter=path)
    assert str(refused.value) == (
        f"the base of {path} must be the one it was made for ({base}, weights {weights[0]}), but found {other}, "
        f"weights {weights[1]}. To fix it, load it with {base}, or tune this base anew."
    )


def test_a_base_in_shards_has_a_fingerprint(base, tmp_path):
    from viva.model import tensors

    loaded = folder.load(base)
    tensors.save(tmp_path, llama, loaded.model, shard="20KB")
    before = adapter.fingerprint(tmp_path)
    shard = sorted(tmp_path.glob("model-*"))[-1]
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x01")
    assert len(before) == 64 and adapter.fingerprint(tmp_path) != before


def test_a_damaged_adapter_is_refused(base, tmp_path):
    path, _ = saved(base, "lora", tmp_path / "adapter")
    file = path / adapter.FILE
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    with pytest.raises(Refusal, match=r"must be an intact adapter, but found adapter.safetensors has changed"):
        viva.load(base, adapter=path)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda held: held.popitem(), r"must be those of the adapter it names, but found decoder.layers.\d"),
        (lambda held: held.update(other=torch.zeros(1)), "must be those of the adapter it names, but found other"),
        (
            lambda held: next(iter(held.values())).fill_(torch.nan),
            "must be finite, but found NaN or infinity in decoder",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused(base, tmp_path, change, message):
    path, _ = saved(base, "lora", tmp_path / "adapter")
    held = load_file(path / adapter.FILE)
    change(held)
    save_file(held, path / adapter.FILE)
    said = json.loads((path / "viva.json").read_text())
    (path / "viva.json").write_text(json.dumps({**said, "files": {}}))
    with pytest.raises(Refusal, match=message):
        viva.load(base, adapter=path)


@pytest.mark.parametrize("load", [
    lambda base, path: viva.load(base, adapter=path),
    lambda base, path: adapter.load(path, base),
], ids=["viva", "adapter"])  # fmt: skip
def test_what_is_no_adapter_is_refused(base, tmp_path, load):
    """A model, a model of others without viva.json, and a folder of anything."""
    theirs, other = tmp_path / "theirs", tmp_path / "other"
    shutil.copytree(base, theirs)
    (theirs / folder.MANIFEST).unlink()
    other.mkdir()
    told = {base: "a whole model", theirs: "a whole model", other: "neither adapter.safetensors nor PEFT's adapter_con"}
    for path, found in told.items():
        with pytest.raises(Refusal, match=re.escape(f"{path} must be an adapter, but found {found}")):
            load(base, path)


def test_an_adapter_is_no_base(base, tmp_path):
    path, _ = saved(base, "lora", tmp_path / "adapter")
    with pytest.raises(Refusal, match="must hold a whole model, but found an adapter without its base"):
        folder.load(path)
    with pytest.raises(Refusal, match="one adapter at most, but found an adapter as the base"):
        viva.load(path, adapter=path)


@pytest.mark.parametrize("kind", ["lora", "dora", "qlora", "ia3"])
def test_merged_it_needs_neither(base, tmp_path, kind):
    path, model = saved(base, kind, tmp_path / "adapter")
    viva.load(path).merged().save(tmp_path / "merged")
    found = viva.load(tmp_path / "merged")
    torch.testing.assert_close(scores(found), scores(model), atol=1e-6, rtol=1e-5)
    assert not adapt.adapted(found.model)
    said = folder.manifest(tmp_path / "merged")
    assert said["merged"] == str(path) and said["parent"] == str(base)


@pytest.mark.parametrize("kind", ["bottleneck", "prompt", "p_tuning", "prefix"])
def test_what_no_linear_map_computes_is_not_merged(base, tmp_path, kind):
    path, _ = saved(base, kind, tmp_path / "adapter")
    with pytest.raises(Refusal, match=r"must be a change of linear maps .* but found networks or vectors of its own"):
        viva.load(path).merged()


def test_a_merger_that_rounding_spoils_is_refused(base, tmp_path):
    """W + s B A is beyond fp16's largest number, W x + s B (A x) is not."""
    path, _ = saved(base, "lora", tmp_path / "adapter")
    held = load_file(path / adapter.FILE)
    name = "decoder.layers.0.attention.q"
    held[f"{name}.a"][:, 0], held[f"{name}.b"][0] = 2e4, 2e4
    save_file(held, path / adapter.FILE)
    said = json.loads((path / "viva.json").read_text())
    (path / "viva.json").write_text(json.dumps({**said, "files": {}}))
    model = viva.load(base, dtype="float16", adapter=path)
    with pytest.raises(Refusal, match=r"must give the scores of model and adapter to 0.01 of the largest in float16"):
        model.merged()


def test_an_adapted_model_is_neither_grown_nor_rescaled(base, tmp_path):
    model = viva.load(base, adapter=saved(base, "lora", tmp_path / "adapter")[0])
    with pytest.raises(Refusal, match="a model must have no adapter to be rescaled"):
        model.rescaled({"kind": "linear", "factor": 2.0})
    with pytest.raises(Refusal, match="a model must have no adapter to be grown"):
        model.grown(["numpy"])
    with pytest.raises(Refusal, match="a model must have an adapter to be merged with it"):
        viva.load(base).merged()
    with pytest.raises(Refusal, match="a model must have an adapter to be saved as one"):
        viva.load(base).save(tmp_path / "new", peft=True)
