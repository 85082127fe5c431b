"""The first Qwen, which transformers never had, against the formulas of its paper and of its published weights.

Bai et al. 2023, https://arxiv.org/abs/2309.16609, section 2.3: an untied embedding, RoPE, a bias on queries, keys and
values alone, pre-norm with RMSNorm, SwiGLU of width 8/3 E, and, for lengths past training, dynamic NTK-aware
interpolation by chunks and log-n scaling. With the published names of tensors, for a layer h and token t = 1 .. T:

    n = x / sqrt(mean(x^2) + eps) * ln_1
    q, k, v = rows 0..E, E..2E, 2E..3E of (c_attn n + b), a head having D of each
    RoPE: (a, b) -> (a cos - b sin, b cos + a sin) of dimensions i and i + D/2, the angle (t - 1) theta'^(-2i/D)
    theta' = theta alpha^(D / (D - 2)), alpha = 2^ceil(log2(T / L) + 1) - 1 where T > L, else 1; L the trained length
    q_t is multiplied by log_L(t) where t > L
    x = x + c_proj softmax(q k^T / sqrt(D)) v;   x = x + c_proj (w1 n' * silu(w2 n'))
"""

import math

import pytest
import torch
from safetensors.torch import load_file

from viva.model import folder as checkpoint
from viva.model import tensors as tensor_table
from viva.model.arch import qwen
from viva.model.arch._family import Keys
from viva.model.cache import Contiguous
from viva.model.init import hollow, initialise
from viva.model.layout import Layout
from viva.model.linear.joined import pieces
from viva.model.position.scaling import stepped
from viva.model.transformer import Transformer

L = qwen.TINY.trained
H, D, EPS, THETA = 4, 8, 1e-6, 10_000.0


def published(tensors: dict[str, torch.Tensor], ids: torch.Tensor, ntk: bool = True, log_n: bool = True):
    """Logits [T, V] of ids [T] by the formulas above, a head and a query at a time."""
    T = len(ids)
    alpha = 2 ** math.ceil(math.log2(T / L) + 1) - 1 if ntk and T > L else 1
    base = THETA * alpha ** (D / (D - 2))

    def norm(x, name):
        return x / (x.pow(2).mean(-1, keepdim=True) + EPS).sqrt() * tensors[name]

    def turned(x, t):
        angle = torch.tensor([(t - 1) * base ** (-2 * i / D) for i in range(D // 2)])
        a, b = x[: D // 2], x[D // 2 :]
        return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()))

    x = tensors["transformer.wte.weight"][ids]
    for layer in range(2):
        at = f"transformer.h.{layer}."
        joined = norm(x, at + "ln_1.weight") @ tensors[at + "attn.c_attn.weight"].T + tensors[at + "attn.c_attn.bias"]
        q, k, v = (part.unflatten(1, (H, D)) for part in joined.split(H * D, 1))
        read = []
        for t in range(1, T + 1):
            factor = math.log(t, L) if log_n and t > L else 1.0
            for h in range(H):
                keys = torch.stack([turned(k[s, h], s + 1) for s in range(t)])
                weights = (keys @ turned(q[t - 1, h], t) * factor / math.sqrt(D)).softmax(0)
                read.append(weights @ v[:t, h])
        x = x + torch.cat(read).view(T, H * D) @ tensors[at + "attn.c_proj.weight"].T
        n = norm(x, at + "ln_2.weight")
        gate = n @ tensors[at + "mlp.w2.weight"].T
        hidden = (n @ tensors[at + "mlp.w1.weight"].T) * gate * gate.sigmoid()
        x = x + hidden @ tensors[at + "mlp.c_proj.weight"].T
    return norm(x, "transformer.ln_f.weight") @ tensors["lm_head.weight"].T


@pytest.fixture
def saved(tmp_path):
    """A model whose every weight is drawn, and the tensors that it writes."""
    model = initialise(Transformer(qwen.TINY.spec()), seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    checkpoint.save(tmp_path / "m", qwen.TINY, model)
    return model, load_file(tmp_path / "m" / "model.safetensors")


def ids(*shape: int) -> torch.Tensor:
    return torch.randint(3, 64, shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("T", [L, L + 1, 2 * L + 3])  # as trained, in the second chunk, in the third
def test_logits_and_gradients_are_those_of_the_formulas(saved, T):
    model, tensors = saved
    x = ids(1, T)
    tensors = {name: tensor.requires_grad_() for name, tensor in tensors.items()}
    mine, expected = model(x)[0], published(tensors, x[0])
    torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-5)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(5)) / T
    (mine * weight).sum().backward()
    (expected * weight).sum().backward()
    found = pieces(model, lambda parameter: parameter.grad)
    for row in tensor_table.named(qwen, model):
        joined = torch.cat([found[name] for name in row.ours])
        torch.testing.assert_close(joined, tensors[row.theirs].grad, atol=1e-5, rtol=1e-4, msg=row.theirs)


@pytest.mark.parametrize(("ntk", "log_n"), [(False, True), (True, False), (False, False)])
def test_each_of_the_two_remedies_by_itself(saved, ntk, log_n):
    model, tensors = saved
    other = without(model, stepped=ntk, log_n=log_n)
    x = ids(1, 2 * L)
    torch.testing.assert_close(other(x)[0], published(tensors, x[0], ntk, log_n), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(other(x), model(x), atol=1e-4)


def without(model: Transformer, **changes) -> Transformer:
    """The same weights under another config."""
    other = Transformer(qwen.TINY.model_copy(update=changes).spec()).eval()
    other.load_state_dict(model.state_dict())
    return other


@pytest.mark.parametrize("step", [1, 5])
def test_cached_decoding_past_the_trained_length(saved, step):
    """Log-n is a factor of the query alone, so that a cache changes nothing."""
    model, tensors = saved
    longer = without(model, stepped=False)
    x, cache = ids(2, L + 6), Contiguous(longer.spec, 2, L + 6, torch.float32)
    with torch.no_grad():
        parts = [longer(x[:, : L - 4], cache=cache)]
        parts += [longer(part, cache=cache) for part in x[:, L - 4 :].split(step, 1)]
        for row in range(2):
            expected = published(tensors, x[row], ntk=False)
            torch.testing.assert_close(torch.cat(parts, 1)[row], expected, atol=1e-5, rtol=1e-5)


def test_packed_documents_count_their_own_tokens(saved):
    model, tensors = saved
    x = ids(1, 2 * L + 4)
    packed = without(model, stepped=False)(x, Layout.packed(((L + 4, L),), 2 * L + 4))[0]
    first, second = (published(tensors, part, ntk=False) for part in x[0].split((L + 4, L)))
    torch.testing.assert_close(packed, torch.cat((first, second)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("end", "alpha"), [(8, 1), (2048, 1), (2049, 3), (4096, 3), (4097, 7), (8192, 7), (8193, 15)])
def test_the_base_grows_by_chunks(end, alpha):
    """With D = 128 and trained on 2048: theta' = 10000 alpha^(128 / 126), so the second frequency is theta'^(-1/64)."""
    frequency, factor = stepped.Config(trained=2048).angles(10_000.0, 128, end)
    assert factor == 1.0
    assert frequency[1].item() == pytest.approx((10_000 * alpha ** (128 / 126)) ** (-1 / 64), rel=1e-6)


def test_log_n_by_hand():
    """Trained on 8: the 64th token's query is multiplied by log_8 64 = 2, the 16th's by 4/3, the 8th's by 1."""
    config = qwen.TINY.model_copy(update={"trained": 8})
    _, factor = config.attention().position.within(config.attention(), 64).table(Layout.one_document(64))
    found = factor[0, [0, 7, 15, 63], 0, 0]
    torch.testing.assert_close(found, torch.tensor([1.0, 1.0, 4 / 3, 2.0]))


def test_the_published_config_is_understood():
    """The keys of Qwen-7B's config.json."""
    keys = {
        "architectures": ["QWenLMHeadModel"],
        "auto_map": {"AutoConfig": "configuration_qwen.QWenConfig"},
        "attn_dropout_prob": 0.0,
        "bf16": False,
        "emb_dropout_prob": 0.0,
        "fp16": False,
        "fp32": False,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "initializer_range": 0.02,
        "kv_channels": 128,
        "layer_norm_epsilon": 1e-06,
        "max_position_embeddings": 32768,
        "model_type": "qwen",
        "no_bias": True,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "onnx_safe": None,
        "rotary_emb_base": 10000,
        "rotary_pct": 1.0,
        "scale_attn_weights": True,
        "seq_length": 8192,
        "tie_word_embeddings": False,
        "tokenizer_class": "QWenTokenizer",
        "transformers_version": "4.32.0",
        "use_cache": True,
        "use_dynamic_ntk": True,
        "use_flash_attn": "auto",
        "use_logn_attn": True,
        "vocab_size": 151936,
    }
    read = Keys(keys)
    spec = qwen.from_hf(read).spec()
    read.finish()
    block = spec.decoder.blocks[0]
    assert (block.ffn.hidden, block.attention.head_dim, spec.context) == (11008, 128, 32768)
    assert (block.attention.bias, block.attention.out_bias, spec.head.tied) == (True, False, False)
    with hollow():
        count = sum(p.numel() for p in Transformer(spec).parameters())
    assert count == 7_721_324_544  # of the released weights
