"""Transformer-XL, which transformers no longer has, against its paper's equations written out with loops in fp64.

Section 3.3: the score of query i for key j is the sum of four terms,
    (a) E_i W_q W_kE E_j   (b) E_i W_q W_kR R_{i-j}   (c) u W_kE E_j   (d) v W_kR R_{i-j},
times 1 / sqrt(D), with R_d the sinusoids of the distance d. Section 3.2: the keys and values of layer n come from
[SG(m), h], the states h of this segment behind the last M inputs m of the same layer, through which no gradient flows,
while W_k and W_v do learn from them. Then (equations at the end of section 3.3)
    h' = LayerNorm(h + W_o attention),   layer = LayerNorm(h' + W_2 relu(W_1 h' + b_1) + b_2).
"""

import json
import math

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import layer_norm

from viva.base.errors import Refusal
from viva.model import folder as checkpoint
from viva.model.arch import llama, transfo_xl
from viva.model.arch._family import Keys
from viva.model.cache import Contiguous
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.model.linear.joined import pieces
from viva.model.recall import Recall
from viva.model.transformer import Transformer

CONFIG = transfo_xl.TINY
SEGMENTS = (6, 3, 4)  # the second is shorter than the memory of 5, which then spans two
VARIANTS = {
    "plain": CONFIG,
    "same-length": CONFIG.model_copy(update={"same_length": True}),
    "farthest": CONFIG.model_copy(update={"farthest": 3}),
    "untied": CONFIG.model_copy(update={"tied": False}),
}


@pytest.fixture(params=VARIANTS)
def config(request) -> transfo_xl.Config:
    return VARIANTS[request.param]


def model(config: transfo_xl.Config) -> Transformer:
    """In fp64, with no parameter at 0 or 1, and scores large enough that the weights are far from uniform."""
    made = initialise(Transformer(config.spec()), seed=1).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return made.eval()


def text(rows: int = 2) -> Tensor:
    return torch.randint(0, CONFIG.vocab, (rows, sum(SEGMENTS)), generator=torch.Generator().manual_seed(3))


class Paper:
    """The equations above for one row of tokens, a segment at a time; `w` are our tensors by name."""

    def __init__(self, config: transfo_xl.Config, w: dict[str, Tensor]):
        self.config, self.w = config, w
        self.memory = [torch.zeros(0, config.width, dtype=torch.float64) for _ in range(config.layers)]

    def read(self, ids: Tensor) -> Tensor:
        """Scores [T, V] of the next tokens."""
        h = self.w["embedding.weight"][ids] * self.config.width**0.5
        for n in range(self.config.layers):
            before = self.memory[n]
            self.memory[n] = torch.cat((before, h))[-self.config.memory :].detach()
            h = self.layer(f"decoder.layers.{n}.", h, before)
        return h @ self.w.get("head.weight", self.w["embedding.weight"]).T + self.w["head.bias"]

    def layer(self, name: str, h: Tensor, memory: Tensor) -> Tensor:
        matrix = lambda part: self.w[f"{name}{part}.weight"]  # noqa: E731
        normed = lambda x, part: layer_norm(x, x.shape[-1:], matrix(part), self.w[f"{name}{part}.bias"])  # noqa: E731
        attended = torch.stack([self.attend(name, h, memory, i) for i in range(len(h))])
        h = normed(h + attended @ matrix("attention.out").T, "attention_norm")
        inner = (h @ matrix("ffn.up").T + self.w[f"{name}ffn.up.bias"]).relu()
        return normed(h + inner @ matrix("ffn.down").T + self.w[f"{name}ffn.down.bias"], "ffn_norm")

    def attend(self, name: str, h: Tensor, memory: Tensor, i: int) -> Tensor:
        """What token i of the segment reads, all heads beside each other, [E]."""
        D, M, seen = self.config.width // self.config.heads, len(memory), torch.cat((memory, h))
        first = max(0, M + i + 1 - self.config.memory) if self.config.same_length else 0
        keys = range(first, M + i + 1)
        out = []
        for head in range(self.config.heads):
            rows = slice(head * D, (head + 1) * D)
            W_q, W_kE, W_v = (self.w[f"{name}attention.{part}.weight"][rows] for part in "qkv")
            W_kR = self.w[f"{name}attention.position.project.weight"][rows]
            u, v = (self.w[f"{name}attention.position.{part}"][head] for part in "uv")
            scores = []
            for j in keys:
                query, key, R = W_q @ h[i], W_kE @ seen[j], W_kR @ self.sinusoids(M + i - j)
                a, b, c, d = query @ key, query @ R, u @ key, v @ R
                scores.append((a + b + c + d) / math.sqrt(D))
            weights = torch.stack(scores).softmax(0)
            out.append(sum(weight * (W_v @ seen[j]) for weight, j in zip(weights, keys, strict=True)))
        return torch.cat(out)

    def sinusoids(self, distance: int) -> Tensor:
        """All sines, then all cosines, of distance / 10000^(2 i / E)."""
        E, distance = self.config.width, min(distance, self.config.farthest or distance)
        angles = [distance / 10_000 ** (2 * i / E) for i in range(E // 2)]
        return torch.tensor([*map(math.sin, angles), *map(math.cos, angles)], dtype=torch.float64)


def test_segments_and_their_gradients_are_the_papers(config):
    """Scores of every segment, and the gradients of the last one's by every tensor: they pass through the memory into
    W_k and W_v, and no further."""
    ours, ids = model(config), text()
    recall, weight = Recall(config.memory), torch.randn(SEGMENTS[-1], config.vocab, dtype=torch.float64)
    w = {name: tensor.detach().clone().requires_grad_() for name, tensor in pieces(ours).items()}
    papers = [Paper(config, w) for _ in ids]
    for part in ids.split(SEGMENTS, 1):
        mine = ours.logits(ours.hidden(part, recall=recall))
        theirs = torch.stack([paper.read(row) for paper, row in zip(papers, part, strict=True)])
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
    assert recall.held == config.memory
    (mine * weight).sum().backward()
    (theirs * weight).sum().backward()
    for name, gradient in pieces(ours, lambda parameter: parameter.grad).items():
        torch.testing.assert_close(gradient, w[name].grad, atol=1e-4, rtol=1e-4, msg=name)


def test_only_the_keys_and_values_learn_from_the_memory():
    """Tokens of the first segment get no gradient from the second; W_v gets what a memory of zeros would not give."""
    ours = model(CONFIG)
    first, second = torch.arange(0, 6)[None], torch.arange(10, 16)[None]
    gradients = []
    for remembered in (True, False):
        ours.zero_grad()
        recall = Recall(CONFIG.memory)
        if remembered:
            ours.hidden(first, recall=recall)
        ours.hidden(second, recall=recall).square().sum().backward()
        gradients.append(
            {name: tensor.clone() for name, tensor in pieces(ours, lambda p: p.grad).items() if tensor is not None}
        )
    assert (gradients[0]["embedding.weight"][:6] == 0).all()
    assert (gradients[0]["embedding.weight"][10:16] != 0).all()
    for part in "kv":
        name = f"decoder.layers.0.attention.{part}.weight"
        assert not torch.allclose(gradients[0][name], gradients[1][name])


def test_reading_token_by_token_is_a_window(config):
    """With M states remembered a token sees M + 1: the same as one pass over the whole under such a window."""
    ours, ids, recall = model(config), text(), Recall(config.memory)
    one_by_one = torch.cat([ours.hidden(token, recall=recall) for token in ids.split(1, 1)], 1)
    spec = config.spec()
    block = spec.decoder.blocks[0]
    window = config.memory if config.same_length else config.memory + 1
    attention = block.attention.model_copy(update={"window": window})
    stack = spec.decoder.model_copy(update={"blocks": (block.model_copy(update={"attention": attention}),)})
    whole = Transformer(spec.model_copy(update={"decoder": stack})).double()
    whole.load_state_dict(ours.state_dict())
    torch.testing.assert_close(one_by_one, whole.hidden(ids), atol=1e-9, rtol=1e-9)


def test_a_cache_reads_as_one_pass_does(config):
    ours, ids = model(config), text()
    cache = Contiguous(ours.spec, len(ids), ids.shape[1], torch.float64)
    with torch.no_grad():
        found = torch.cat([ours(part, cache=cache) for part in ids.split((4, *[1] * 9), 1)], 1)
        papers = [Paper(config, dict(pieces(ours))) for _ in ids]
        theirs = torch.stack([paper.read(row) for paper, row in zip(papers, ids, strict=True)])
    torch.testing.assert_close(found, theirs, atol=1e-5, rtol=1e-5)


def test_activations_computed_again_see_the_same_memory():
    """Recomputation happens after the memory has moved on; gradients are those of the usual pass."""
    ours, (first, second, _) = model(CONFIG).train(), text().split(SEGMENTS, 1)
    found = []
    for recompute in (False, True):
        ours.decoder.recompute = recompute
        ours.zero_grad()
        recall = Recall(CONFIG.memory)
        for part in (first, second):
            loss = ours.hidden(part, recall=recall).square().sum()
        loss.backward()
        found.append({name: tensor.grad.clone() for name, tensor in ours.named_parameters() if tensor.grad is not None})
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected, msg=name)


def test_packed_documents_are_each_alone(config):
    ours, ids = model(config), text(1)
    packed = ours(ids, Layout.packed((SEGMENTS,), ids.shape[1]))
    for alone, found in zip(ids[0].split(SEGMENTS), packed[0].split(SEGMENTS), strict=True):
        theirs = Paper(config, dict(pieces(ours))).read(alone)
        torch.testing.assert_close(found, theirs, atol=1e-5, rtol=1e-5)


def test_a_saved_folder_is_the_same_model(config, tmp_path):
    ours = model(config).float()
    checkpoint.save(tmp_path, config, ours)
    loaded = checkpoint.load(tmp_path)
    assert loaded.config.spec() == config.spec()
    for name, parameter in ours.named_parameters():
        assert torch.equal(parameter, dict(loaded.model.named_parameters())[name]), name
    assert loaded.model.spec.decoder.recall == config.memory


def test_tensors_have_the_names_and_shapes_of_the_papers_code(tmp_path):
    """qkv_net holds queries, keys and values below one another; r_w_bias is u, which meets content, r_r_bias is v."""
    ours, E, F = model(CONFIG).float(), CONFIG.width, CONFIG.hidden
    checkpoint.save(tmp_path, CONFIG, ours)
    stored, mine = load_file(tmp_path / "model.safetensors"), pieces(ours)
    layer = {
        "dec_attn.qkv_net.weight": (3 * E, E),
        "dec_attn.o_net.weight": (E, E),
        "dec_attn.r_net.weight": (E, E),
        "dec_attn.r_w_bias": (2, E // 2),
        "dec_attn.r_r_bias": (2, E // 2),
        "dec_attn.layer_norm.weight": (E,),
        "dec_attn.layer_norm.bias": (E,),
        "pos_ff.CoreNet.0.weight": (F, E),
        "pos_ff.CoreNet.0.bias": (F,),
        "pos_ff.CoreNet.3.weight": (E, F),
        "pos_ff.CoreNet.3.bias": (E,),
        "pos_ff.layer_norm.weight": (E,),
        "pos_ff.layer_norm.bias": (E,),
    }
    expected = {f"transformer.layers.{i}.{name}": shape for i in range(CONFIG.layers) for name, shape in layer.items()}
    expected |= {"transformer.word_emb.emb_layers.0.weight": (64, E), "crit.out_layers.0.bias": (64,)}
    assert {name: tuple(tensor.shape) for name, tensor in stored.items()} == expected
    parts = [mine[f"decoder.layers.1.attention.{part}.weight"] for part in "qkv"]
    assert torch.equal(stored["transformer.layers.1.dec_attn.qkv_net.weight"], torch.cat(parts))
    assert torch.equal(stored["transformer.layers.1.dec_attn.r_w_bias"], mine["decoder.layers.1.attention.position.u"])


@pytest.mark.parametrize("changed", [{"cutoffs": [20, 40]}, {"div_val": 4}, {"cutoffs": None}])
def test_an_adaptive_softmax_is_refused(changed):
    keys = {**transfo_xl.to_hf(CONFIG), **changed}
    with pytest.raises(Refusal, match=r"score its whole vocabulary by one matrix.* but found an adaptive softmax"):
        transfo_xl.from_hf(Keys({key: value for key, value in keys.items() if value is not None}))


def test_the_published_keys_are_understood():
    """Those of transfo-xl-wt103 as the class writes them, without its adaptive softmax."""
    published = """{"adaptive": true, "architectures": ["TransfoXLLMHeadModel"], "attn_type": 0, "clamp_len": 1000,
        "cutoffs": [], "d_embed": 1024, "d_head": 64, "d_inner": 4096, "d_model": 1024, "div_val": 1, "dropatt": 0.0,
        "dropout": 0.1, "eos_token_id": 0, "ext_len": 0, "init": "normal", "init_range": 0.01, "init_std": 0.02,
        "layer_norm_epsilon": 1e-05, "mem_len": 1600, "model_type": "transfo-xl", "n_head": 16, "n_layer": 18,
        "pre_lnorm": false, "proj_init_std": 0.01, "proj_share_all_but_first": true, "same_length": true,
        "sample_softmax": -1, "tgt_len": 128, "tie_projs": [false], "tie_weight": true, "untie_r": true,
        "vocab_size": 267735}"""
    keys = Keys(json.loads(published))
    config = transfo_xl.from_hf(keys)
    keys.finish()
    assert (config.memory, config.farthest, config.same_length, config.spec().decoder.recall) == (
        1600,
        1000,
        True,
        1600,
    )


def test_what_cannot_recall_says_so():
    ids = text()
    with pytest.raises(Refusal, match="must be made for segments to recall the one before"):
        Transformer(llama.TINY.spec()).hidden(ids, recall=Recall(5))
    ours = model(CONFIG)
    with pytest.raises(Refusal, match="must go on where the one before it ended, but found packed documents"):
        ours.hidden(ids, Layout.packed((SEGMENTS, SEGMENTS), ids.shape[1]), recall=Recall(5))
    with pytest.raises(Refusal, match="must go on where the one before it ended, but found a cache"):
        ours.hidden(ids, cache=Contiguous(ours.spec, 2, 20, torch.float64), recall=Recall(5))


@pytest.mark.parametrize(("changed", "found"), [
    ({"layers": 3}, "2 layers, 16 wide in torch.float64, beside 3, 16 wide in torch.float64"),
    ({"layers": 1}, "2 layers, 16 wide in torch.float64, beside 1, 16 wide in torch.float64"),
    ({"width": 32}, "2 layers, 16 wide in torch.float64, beside 2, 32 wide in torch.float64"),
])  # fmt: skip
def test_what_another_model_left_is_refused(changed, found):
    recall, ids = Recall(5), text()
    model(CONFIG).hidden(ids, recall=recall)
    with pytest.raises(Refusal, match=f"a recall must be of the model that reads, but found the states of {found}"):
        model(CONFIG.model_copy(update=changed)).hidden(ids, recall=recall)


def test_what_a_model_in_fewer_bits_left_is_read_and_not_the_other_way():
    ids, recall = text(), Recall(5)
    model(CONFIG).bfloat16().hidden(ids, recall=recall)
    assert model(CONFIG).hidden(ids, recall=recall).dtype == torch.float64
    with pytest.raises(Refusal, match=r"16 wide in torch\.float64, beside 2, 16 wide in torch\.bfloat16"):
        model(CONFIG).bfloat16().hidden(ids, recall=recall)


def test_a_segment_stands_behind_what_is_recalled_in_the_same_rows():
    """A refusal leaves the recall as it was, and a layout that says the same changes nothing."""
    ours, ids = model(CONFIG), text()
    found = []
    for told in (False, True):
        recall = Recall(5)
        ours.hidden(ids, recall=recall)
        if told:
            for start in (0, 9):
                with pytest.raises(Refusal, match=rf"or recalled, but found a layout that begins at \[{start}\] and 5"):
                    ours.hidden(ids, Layout.one_document(ids.shape[1], start), recall=recall)
            with pytest.raises(Refusal, match="as many rows as those before, but found 1 rows behind 2"):
                ours.hidden(ids[:1], recall=recall)
            assert ours.hidden(ids[:, :0], recall=recall).shape == (2, 0, CONFIG.width)
            assert ours.hidden(ids[:, :0], Layout.one_document(0, 5), recall=recall).shape == (2, 0, CONFIG.width)
        layout = Layout.one_document(ids.shape[1], 5) if told else None
        found.append(ours.hidden(ids, layout, recall=recall))
    assert torch.equal(*found)
