"""A trained model under another scaling of its rotary positions: what it computes, and what it is saved as."""

import pytest
import torch
import transformers

import viva
from viva.model import folder
from viva.model.arch import custom, gemma2, gpt2, llama, qwen, qwen2, rnn, t5
from viva.model.init import initialise
from viva.model.position import learned, log_n, rope
from viva.model.position.scaling import linear, yarn

TRAINED = 64
YARN = {"kind": "yarn", "factor": 4, "trained": TRAINED}
SCALINGS = {
    "yarn": YARN,
    "linear": linear.Config(factor=4),
    "llama3": {"kind": "llama3", "factor": 4, "trained": TRAINED},
}


@pytest.fixture
def load(tmp_path):
    def made(config) -> viva.LanguageModel:
        model = initialise(config.spec().build(), seed=3)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)) * 0.2)
        folder.save(tmp_path / "trained", config, model)
        return viva.load(tmp_path / "trained")

    return made


@pytest.mark.parametrize("name", SCALINGS)
@pytest.mark.parametrize("family", [llama, gemma2])
def test_transformers_reads_it_alike_beyond_the_trained_length(load, family, name, tmp_path):
    """Of gemma2 every second layer has a window; both kinds turn alike."""
    model = load(family.TINY)
    longer = model.rescaled(SCALINGS[name], context=4 * TRAINED)
    longer.save(tmp_path / "longer")
    twin = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "longer").eval()
    ids = torch.randint(3, 64, (2, 3 * TRAINED), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        torch.testing.assert_close(longer(ids), twin(ids).logits, atol=1e-5, rtol=1e-5)
        assert (model(ids) - longer(ids)).abs().max() > 1e-2
    assert (longer.spec.context, model.spec.context) == (4 * TRAINED, TRAINED)
    assert viva.load(tmp_path / "longer").spec == longer.spec and not longer.model.training
    assert all(mine is not None and theirs.data_ptr() == mine.data_ptr() for mine, theirs in zip(
        model.model.parameters(), longer.model.parameters(), strict=True))  # fmt: skip


def test_a_spec_of_its_own_is_scaled_wherever_it_turns(load):
    """In blocks of two kinds, and inside another scheme; everything else of it is as it was."""
    block = custom.TINY.decoder.blocks[0]
    near, far = (
        block.model_copy(update={"attention": block.attention.model_copy(update={"position": position})})
        for position in (rope.Config(theta=500.0), log_n.Config(trained=16))
    )
    decoder = custom.TINY.decoder.model_copy(update={"blocks": (near, far)})
    model = load(custom.TINY.model_copy(update={"decoder": decoder}))
    found = [each.position for each in model.rescaled(YARN).spec.decoder.blocks]
    scaling = yarn.Config(factor=4, trained=TRAINED)
    assert found == [
        rope.Config(theta=500.0, scaling=scaling),
        log_n.Config(trained=16, rope=rope.Config(scaling=scaling)),
    ]
    assert model.rescaled(YARN).rescaled("default").spec == model.spec


@pytest.mark.parametrize(("family", "found"), [(gpt2, "learned"), (t5, "t5"), (rnn, "none")])
def test_a_model_that_turns_nothing_is_refused(load, family, found):
    with pytest.raises(viva.Refusal) as caught:
        load(family.TINY).rescaled(YARN)
    assert str(caught.value) == (
        f"a model must have rotary positions for them to be scaled, but found {found}. To fix it, load one such as "
        "llama."
    )


def test_a_table_of_positions_has_no_other_context(load):
    """Beside rotary positions, which alone would reach further."""
    entry = custom.TINY.decoder.entry.model_copy(update={"position": learned.Config()})
    block = custom.TINY.decoder.blocks[0]
    turned = block.model_copy(update={"attention": block.attention.model_copy(update={"position": rope.Config()})})
    decoder = custom.TINY.decoder.model_copy(update={"entry": entry, "blocks": (turned,)})
    model = load(custom.TINY.model_copy(update={"decoder": decoder}))
    assert model.rescaled(YARN).spec.decoder.blocks[0].attention.position.scaling == yarn.Config(factor=4, trained=64)
    with pytest.raises(
        viva.Refusal, match=r"must not depend on the context .* decoder\.entry\.position\.table\.weight"
    ):
        model.rescaled(YARN, context=2 * model.spec.context)


def test_what_transformers_has_not_is_not_saved_as_a_family(load, tmp_path):
    stepped = load(llama.TINY).rescaled({"kind": "stepped", "trained": TRAINED}, 2 * TRAINED)
    with pytest.raises(
        viva.Refusal, match=r"one that transformers has .* but found stepped\. To fix it, choose dynamic"
    ):
        stepped.save(tmp_path / "stepped")
    dynamic = load(llama.TINY).rescaled({"kind": "dynamic", "factor": 4.0, "trained": TRAINED}, 2 * TRAINED)
    said = rf"a dynamic scaling must be trained at the model's context of {2 * TRAINED} for .* but found {TRAINED}\."
    with pytest.raises(viva.Refusal, match=said):
        dynamic.save(tmp_path / "dynamic")


def test_what_cannot_be_a_scaling(load):
    model = load(qwen2.TINY)
    with pytest.raises(
        viva.Refusal, match=r"scaling must match its schema, but found scaling\.trained: Field required"
    ):
        model.rescaled({"kind": "yarn", "factor": 4})
    with pytest.raises(viva.Refusal, match="must be a known kind; use 'yarn'"):
        model.rescaled("yarm")
    with pytest.raises(viva.Refusal, match="context: Input should be greater than 0"):
        model.rescaled(YARN, context=0)
    with pytest.raises(viva.Refusal, match=r"a Qwen must have its own scaling .* but found scaling yarn"):
        load(qwen.TINY).rescaled(YARN)
