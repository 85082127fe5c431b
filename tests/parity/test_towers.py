"""What the towers of images and texts pool, against transformers, and what a model of images refuses."""

import pytest
import tokenizers
import torch
import transformers
from tokenizers.processors import TemplateProcessing

import viva
from viva.base.errors import Refusal
from viva.infer.decode import Decoding
from viva.infer.sampling import Sampling
from viva.model import folder as checkpoint
from viva.model.arch import clip_text, clip_vision, vit
from viva.model.head import embed, lm, none
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.model.spec import Spec
from viva.model.transformer import Transformer
from viva.text.tokens.tokenizer import Tokenizer

EOS = 63


def drawn(config, seed: int = 2) -> Transformer:
    model = initialise(Transformer(config.spec()), seed=1).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def framed(end: int, start: int, last: int) -> Tokenizer:
    """64 words, and a frame of two tokens around each text, of which `end` is to be the last."""
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"w{i}": i for i in range(64)}, unk_token="w1"))
    ends = [(f"w{number}", number) for number in dict.fromkeys((start, last, end))]
    core.add_special_tokens([token for token, _ in ends])
    core.post_processor = TemplateProcessing(single=f"w{start} $A w{last}", special_tokens=ends)
    return Tokenizer(core, {"eos_token": f"w{end}", "bos_token": f"w{start}"})


def images(B: int = 3, side: int = 12) -> torch.Tensor:
    return torch.randn(B, 3, side, side, generator=torch.Generator().manual_seed(3))


def test_a_text_is_what_its_end_token_has_read(tmp_path):
    """Texts that end at different places, padded with end tokens as CLIP's tokenizer pads; and packed in a row."""
    config = clip_text.TINY.model_copy(
        update={"head": embed.Config(pool="last", normalised=False, width=24), "end": EOS}
    )
    ours = drawn(config)
    checkpoint.save(tmp_path / "m", config, ours)
    twin = transformers.CLIPTextModelWithProjection.from_pretrained(tmp_path / "m", attn_implementation="eager").eval()
    lengths = (4, 9, 12)
    ids = torch.randint(3, EOS, (3, 12), generator=torch.Generator().manual_seed(3))
    for row, n in enumerate(lengths):
        ids[row, n - 1 :] = EOS
    expected = twin(ids).text_embeds
    padded = ours(ids, Layout.packed(tuple((n,) for n in lengths), 12))
    torch.testing.assert_close(padded, expected, atol=1e-5, rtol=1e-5)
    row = torch.cat([ids[i, :n] for i, n in enumerate(lengths)])[None]
    torch.testing.assert_close(ours(row, Layout.packed((lengths,), sum(lengths))), expected, atol=1e-5, rtol=1e-5)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(5))
    (padded * weight).sum().backward(), (expected * weight).sum().backward()
    mine, theirs = ours.head.project.weight.grad, twin.text_projection.weight.grad
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("end", "start", "last", "pooled"), [
    (2, 5, 2, "the token with the largest id where the end token is 2"),
    (3, 3, 3, "the first token 3, by which a text also begins here"),
    (3, 5, 6, "the first token 3, by which a text does not end here"),
    (None, 5, 6, "the first token, for no text has the end 49407"),
    (3, 5, 3, None),
])  # fmt: skip
def test_it_is_said_where_the_twin_pools_another_token(tmp_path, recwarn, end, start, last, pooled):
    """And it does: texts that end in the end token, as their tokenizer frames them."""
    config = clip_text.TINY.model_copy(update={"head": embed.Config(pool="last", normalised=False, width=24)})
    tokenizer = None if end is None else framed(end, start, last)
    ours = drawn(config)
    checkpoint.require_savable(config, ours, tokenizer)
    checkpoint.save(tmp_path / "m", config, ours, tokenizer)
    told = [str(each.message) for each in recwarn if "it pools" in str(each.message)]
    assert [each.partition("it pools ")[2] for each in told] == (
        [f"{pooled}, and not the last token"] if pooled else []
    )
    twin = transformers.CLIPTextModelWithProjection.from_pretrained(tmp_path / "m").eval()
    ids = torch.tensor([[start, 9, 8, last]])
    assert torch.allclose(ours(ids), twin(ids).text_embeds, atol=1e-5) == (pooled is None)


@pytest.mark.parametrize(("told", "last", "pooled"), [
    (2, 63, None),  # as published at first: the end is the largest id
    (2, 61, "the token with the largest id where the end token is 2"),  # and one of the tokens behind it is in the text
    (500, 63, "the first token, for no text has the end 500"),
    (63, 63, None),
])  # fmt: skip
def test_it_is_said_where_a_folder_of_theirs_pools_another_token(tmp_path, recwarn, told, last, pooled):
    config = clip_text.TINY.model_copy(update={"head": embed.Config(pool="last", normalised=False, width=24)})
    checkpoint.save(tmp_path / "m", config, drawn(config), framed(last, 5, last))
    twin = transformers.CLIPTextModelWithProjection.from_pretrained(tmp_path / "m").eval()
    twin.config.eos_token_id = told
    twin.save_pretrained(tmp_path / "theirs")
    for file in (tmp_path / "m").glob("tokenizer*"):
        (tmp_path / "theirs" / file.name).write_bytes(file.read_bytes())
    recwarn.clear()
    ours = checkpoint.load(tmp_path / "theirs").model
    said = [str(each.message).partition("it pools ")[2] for each in recwarn if "it pools" in str(each.message)]
    assert said == ([f"{pooled}, and not the last token"] if pooled else [])
    twin = transformers.CLIPTextModelWithProjection.from_pretrained(tmp_path / "theirs").eval()
    ids = torch.tensor([[5, 9, 62, last]])
    assert torch.allclose(ours(ids), twin(ids).text_embeds, atol=1e-5) == (pooled is None)


def test_an_end_beyond_the_vocabulary_is_refused():
    with pytest.raises(Refusal, match="end must be an id of the vocabulary of 64 tokens, but found 64"):
        clip_text.TINY.model_copy(update={"end": 64}).spec()


def test_an_image_towers_first_state_is_what_the_twin_pools(tmp_path):
    config = clip_vision.TINY.model_copy(update={"head": none.Config()})
    ours = drawn(config)
    checkpoint.save(tmp_path / "m", config, ours)
    twin = transformers.CLIPVisionModel.from_pretrained(tmp_path / "m", attn_implementation="eager").eval()
    x = images()
    torch.testing.assert_close(ours(x)[:, 0], twin(x).pooler_output, atol=1e-5, rtol=1e-5)


def test_patches_by_hand():
    """A 4 x 4 image of one channel in squares of 2 x 2, each weighted by (1, 10, 100, 1000), behind the token."""
    patches = Transformer(
        vit.TINY.model_copy(update={"image": 4, "patch": 2, "channels": 1, "width": 4}).spec()
    ).embedding
    with torch.no_grad():
        patches.weight.copy_(torch.tensor([1.0, 10, 100, 1000]).view(1, 1, 2, 2).expand(4, 1, 2, 2))
        patches.bias.fill_(0.5), patches.token.fill_(7.0)
        found = patches(torch.arange(16.0).view(1, 1, 4, 4))
    assert found[0, :, 0].tolist() == [7.0, 5410.5, 7632.5, 14298.5, 16520.5]


def test_a_published_image_model_loads_with_its_pooler_set_aside(tmp_path):
    """A folder of ViTModel names no family before its tensors and has a pooler; the states are equal all the same."""
    keys = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = transformers.ViTConfig(**keys, image_size=12, patch_size=4, attn_implementation="eager")
    twin = transformers.ViTModel(config).eval()
    twin.save_pretrained(tmp_path / "m")
    with pytest.warns(UserWarning, match="holds a head that this model has not: vit.pooler.dense.bias"):
        ours = checkpoint.load(tmp_path / "m").model
    torch.testing.assert_close(ours(images()), twin(images()).last_hidden_state, atol=1e-5, rtol=1e-5)


def test_an_image_of_another_size_is_refused():
    model = drawn(vit.TINY)
    with pytest.raises(Refusal, match=r"of the shape \[B, 3, 12, 12\], but found \[3, 3, 16, 16\]. To fix it, scale"):
        model(images(side=16))


def test_a_model_of_images_does_not_write():
    with pytest.raises(Refusal, match="a model must have a decoder to generate text, but found an encoder alone"):
        Decoding(drawn(vit.TINY), {0: [1, 2]}, Sampling())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"vocab": 64}, "a model must read a vocabulary or patches, but found both"),
        ({"patches": None}, "a model must read a vocabulary or patches, but found neither"),
        ({"head": lm.Config()}, "must have an encoder alone, and score no words, but found .* head lm"),
        ({"patches": {"image": 12, "size": 5}}, "must divide that of the image, but found 5 pixels in 12"),
    ],
)
def test_what_does_not_fit_is_refused(changes, expected):
    with pytest.raises(Refusal, match=expected):
        Spec(**{**dict(vit.TINY.spec()), **changes})


def test_a_loaded_image_model_is_called_with_images(tmp_path):

    ours = drawn(vit.TINY)
    checkpoint.save(tmp_path / "m", vit.TINY, ours)
    assert torch.equal(viva.load(tmp_path / "m")(images()), ours(images()))
