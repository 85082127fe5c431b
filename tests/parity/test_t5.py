"""What is T5's alone: two versions that config.json tells apart by their head, and starting weights of its own."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5ForConditionalGeneration

from viva.base.errors import Refusal
from viva.model import folder as checkpoint
from viva.model import tensors
from viva.model.arch import t5
from viva.model.init import initialise
from viva.model.linear.joined import pieces
from viva.model.transformer import Transformer

V1_1 = t5.TINY.model_copy(update={"gated": True, "activation": "gelu_tanh", "tied": False})


def test_an_untied_head_stays_untied_in_the_twin(tmp_path):
    """transformers 5.23 reads `tie_word_embeddings`: false of T5 as "do not scale the states" and then calls the head
    tied all the same; but it leaves a head alone whose tensor is in the file and differs from the embeddings. So it is
    right about version 1.1, and the ladder compares with it; the folder it writes says tied, and we still know better.
    """
    checkpoint.save(tmp_path / "ours", V1_1, initialise(Transformer(V1_1.spec())))
    twin = T5ForConditionalGeneration.from_pretrained(tmp_path / "ours")
    assert not torch.equal(twin.lm_head.weight, twin.shared.weight)
    twin.save_pretrained(tmp_path / "theirs")
    written = json.loads((tmp_path / "theirs" / "config.json").read_text())
    assert (written["tie_word_embeddings"], written["scale_decoder_outputs"]) == (True, False)
    assert checkpoint.load(tmp_path / "theirs").config.spec() == V1_1.spec()


def test_a_table_that_nothing_reads_is_left_out(tmp_path):
    """Google's first checkpoints hold one for cross-attention, which has no positions."""
    checkpoint.save(tmp_path, t5.TINY, initialise(Transformer(t5.TINY.spec())))
    (tmp_path / checkpoint.MANIFEST).unlink()
    stored = load_file(tmp_path / "model.safetensors")
    stored["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.ones(8, 4)
    save_file(stored, tmp_path / "model.safetensors")
    checkpoint.load(tmp_path)


@pytest.mark.parametrize("farthest", [8, 16])
def test_a_published_farthest_below_the_exact_buckets_is_refused(tmp_path, farthest):
    """Of the 32 buckets of the decoder, 16 are for one distance each; transformers' numbers would fall from there."""
    checkpoint.save(tmp_path / "m", t5.TINY, initialise(t5.TINY.spec().build()))
    file = tmp_path / "m" / "config.json"
    said = json.loads(file.read_text())
    said |= {"relative_attention_num_buckets": 32, "relative_attention_max_distance": farthest}
    file.write_text(json.dumps(said))
    (tmp_path / "m" / "viva.json").unlink()  # of a folder that others have published there is none
    with pytest.raises(Refusal, match=f"farthest of t5 positions must be above .* found {farthest} where"):
        checkpoint.load(tmp_path / "m")


def test_starting_weights_have_the_spread_of_the_twins():
    """Of every tensor: sizes differ from each other, so that one fan-in taken for another shows."""
    config = t5.Config(vocab=2000, width=96, layers=1, heads=6, head_dim=48, hidden=400, gated=True)
    ours = initialise(Transformer(config.spec()))
    twin = T5ForConditionalGeneration(T5Config(**t5.to_hf(config)))
    theirs = dict(twin.named_parameters())
    mine = pieces(ours)
    for row in tensors.named(t5, ours):
        if row.theirs.endswith("relative_attention_bias.weight"):  # few numbers
            assert mine[row.ours[0]].std().item() == pytest.approx(96**-0.5, rel=0.15)
        elif not row.theirs.endswith("layer_norm.weight"):
            found, expected = (x.std().item() for x in (mine[row.ours[0]], theirs[row.theirs]))
            assert found == pytest.approx(expected, rel=0.03), row.theirs
