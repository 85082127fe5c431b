"""Positions: the angles of every rotary scaling are transformers', and each scheme does what its paper says."""

import json
import math
import re

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from viva.base.choice import names
from viva.base.config import parse
from viva.base.errors import Refusal
from viva.model import folder
from viva.model.arch import llama
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.model.position import learned, rope, sinusoidal
from viva.model.position.scaling import default, dynamic, linear, llama3, yarn
from viva.model.spec import Attention

D, CONTEXT, THETA = 64, 32768, 1e6
CASES = {
    "default": default.Config(),
    "linear": linear.Config(factor=4.0),
    "dynamic": dynamic.Config(factor=4.0, trained=CONTEXT),
    "llama3": llama3.Config(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, trained=8192),
    "yarn": yarn.Config(factor=4.0, trained=CONTEXT),  # Qwen2's, from 32K to 128K
    "yarn-deepseek": yarn.Config(factor=40.0, trained=4096, mscale=1.0, mscale_all_dim=0.8),
    "yarn-as-given": yarn.Config(factor=4.0, trained=4096, attention_factor=1.3, truncate=False, beta_fast=16.0),
}


def test_every_scaling_is_here():
    own = {"stepped"}  # Qwen's: tests/parity/test_qwen1.py
    assert {name.split("-")[0] for name in CASES} == set(names("viva.model.position.scaling")) - own


@pytest.mark.parametrize("length", [1000, 131072])
@pytest.mark.parametrize("name", CASES)
def test_final_angles_equal_the_twin(name, length):
    """Frequencies to 1e-6, relatively, and the angles cos and sin are taken of at the last place."""
    kind, scaling = name.split("-")[0], CASES[name]
    fields = {"original_max_position_embeddings" if k == "trained" else k: v for k, v in scaling if v is not None}
    config = LlamaConfig(
        hidden_size=D * 4,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": kind, "rope_theta": THETA, **fields},
    )
    if kind == "default":
        theirs, factor = 1.0 / THETA ** (torch.arange(0, D, 2).float() / D), 1.0
    else:
        theirs, factor = ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=length)
    mine, my_factor = scaling.angles(THETA, D, length)
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=0)
    assert my_factor == pytest.approx(factor, rel=1e-6)
    if kind != "dynamic":
        torch.testing.assert_close(mine * (length - 1), theirs * (length - 1), rtol=1e-6, atol=0)


def test_yarn_by_hand():
    """factor 4, D = 64, theta = 1e6, trained on 32768: below index 64 ln(32768 / (32 * 2 pi)) / (2 ln 1e6) = 11.8 a
    frequency stays, above 64 ln(32768 / (2 pi)) / (2 ln 1e6) = 19.8 it is divided by 4; temperature 0.1 ln 4 + 1."""
    mine, factor = CASES["yarn"].angles(THETA, D, CONTEXT)
    plain, _ = CASES["default"].angles(THETA, D, CONTEXT)
    assert torch.equal(mine[:12], plain[:12])
    torch.testing.assert_close(mine[20:], plain[20:] / 4)
    assert factor == pytest.approx(0.1 * math.log(4) + 1)


BOUNDS = [
    ("yarn", {"beta_fast": 0}, "beta_fast: Input should be greater than 0"),
    ("yarn", {"beta_slow": 0}, "beta_slow: Input should be greater than 0"),
    ("yarn", {"mscale": -1, "mscale_all_dim": 1}, "mscale: Input should be greater than or equal to 0"),
    ("yarn", {"mscale": 1, "mscale_all_dim": -1}, "mscale_all_dim: Input should be greater than or equal to 0"),
    (
        "yarn",
        {"beta_fast": 1, "beta_slow": 32},
        "beta_fast of yarn must be at least beta_slow, but found beta_fast 1 and beta_slow 32. To fix it, exchange the",
    ),
    (
        "yarn",
        {"beta_slow": 16},
        "must turn more than beta_slow times over the trained context, but found 10 times in 64 tokens, and beta_slow",
    ),
    ("llama3", {"low_freq_factor": 0}, "low_freq_factor: Input should be greater than 0"),
    ("llama3", {"low_freq_factor": -2, "high_freq_factor": -1}, "high_freq_factor: Input should be greater than 0"),
    *(
        (
            "llama3",
            {"low_freq_factor": low, "high_freq_factor": 4},
            f"low_freq_factor of llama3 must be below high_freq_factor, but found low_freq_factor {low} and "
            "high_freq_factor 4. To fix it, exchange the two, or correct one.",
        )
        for low in (4, 8)
    ),
]


@pytest.mark.parametrize(("name", "said", "expected"), BOUNDS)
def test_a_scaling_that_cannot_be_is_refused(name, said, expected, tmp_path):
    """In a recipe, and in a config.json as it was published."""
    fields = {"factor": 4.0, **said}
    with pytest.raises(Refusal, match=re.escape(expected)):
        parse(rope.Config, {"scaling": {"kind": name, "trained": 64, **fields}})
    folder.save(tmp_path / "m", llama.TINY, initialise(llama.TINY.spec().build()))
    file = tmp_path / "m" / "config.json"
    section = {"rope_type": name, "original_max_position_embeddings": 64, **fields}
    file.write_text(json.dumps({**json.loads(file.read_text()), "rope_scaling": section}))
    (tmp_path / "m" / "viva.json").unlink()  # of a folder that others have published there is none
    with pytest.raises(Refusal, match=re.escape(expected)):
        folder.load(tmp_path / "m")


def test_a_scaling_at_its_bounds_is_accepted():
    """One bound of yarn for both: a frequency stays or is divided, with none in between."""
    angles, _ = yarn.Config(factor=4.0, trained=CONTEXT, beta_fast=8, beta_slow=8, truncate=False).angles(THETA, D, 1)
    divided = default.Config().angles(THETA, D, 1)[0] / angles
    assert set(divided.round(decimals=4).tolist()) == {1.0, 4.0}
    assert yarn.Config(factor=4.0, trained=64, mscale=0, mscale_all_dim=0).angles(THETA, D, 1)[1] == pytest.approx(
        0.1 * math.log(4) + 1
    )


@pytest.mark.parametrize("theta", [-3, 0, 1])
def test_a_base_of_no_waves_is_refused(theta):
    for kind in (rope, sinusoidal):
        with pytest.raises(Refusal, match=r"theta: Input should be greater than 1 \(given"):
            parse(kind.Config, {"theta": theta})


def test_rope_scores_depend_on_the_distance_alone():
    """q_m . k_n = q_(m+s) . k_(n+s) (Su et al. 2021, eq. 16), and the gradient is the opposite turn."""
    turner = rope.Config().within(Attention(heads=4, kv_heads=2, head_dim=16), 64)
    q, k = torch.randn(2, 1, 1, 1, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float32)

    def score(m: int, n: int) -> torch.Tensor:
        query, _ = turner.turn(q, k, turner.table(Layout.one_document(1, m)))
        _, key = turner.turn(q, k, turner.table(Layout.one_document(1, n)))
        return (query * key).sum()

    for context in (torch.enable_grad, torch.no_grad):  # training and decoding turn by different operations
        with context():
            torch.testing.assert_close(score(3, 7), score(40, 44), rtol=1e-4, atol=1e-5)
            assert not torch.isclose(score(3, 7), score(3, 8))


def test_the_gradient_of_a_turn_is_the_opposite_turn():
    turner = rope.Config().within(Attention(heads=4, kv_heads=2, head_dim=16), 64)
    q, k = (torch.randn(1, 5, heads, 16, requires_grad=True) for heads in (4, 2))
    table = turner.table(Layout.one_document(5))
    weights = [torch.randn(x.shape) for x in (q, k)]
    turned = turner.turn(q, k, table)
    gradients = torch.autograd.grad(sum((y * w).sum() for y, w in zip(turned, weights, strict=True)), (q, k))
    for found, weight in zip(turner.turn(*gradients, table), weights, strict=True):
        torch.testing.assert_close(found, weight)


def test_training_and_decoding_turn_alike():
    """The two ways differ by the rounding of a fused multiplication at most."""
    turner = rope.Config().within(Attention(heads=4, kv_heads=2, head_dim=16), 64)
    q, k = (torch.randn(2, 5, heads, 16) for heads in (4, 2))
    table = turner.table(Layout.one_document(5, 7))
    with torch.no_grad():
        decoding = turner.turn(q, k, table)
    for found, expected in zip(decoding, turner.turn(q, k, table), strict=True):
        torch.testing.assert_close(found, expected)


def test_sinusoids_by_hand():
    """PE(1, 0..3) for E = 4: sin 1, cos 1, sin 0.01, cos 0.01."""
    found = sinusoidal.Config().build(4, 8)(Layout.one_document(2))[0, 1]
    torch.testing.assert_close(found, torch.tensor([math.sin(1), math.cos(1), math.sin(0.01), math.cos(0.01)]))


def test_positions_of_packed_rows_begin_anew():
    layout = Layout.packed(((2, 3), (4,)), 6)
    assert layout.positions.tolist() == [[0, 1, 0, 1, 2, 0], [0, 1, 2, 3, 0, 0]]  # padding stays at the first place
    assert layout.end == 4


def test_learned_positions_end():
    table = learned.Config().build(4, 8)
    assert table(Layout.one_document(8)).shape == (1, 8, 4)
    with pytest.raises(Refusal, match="reads at most 8 tokens, but found 9"):
        table(Layout.one_document(9))
