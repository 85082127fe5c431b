"""The classes that transformers has of decoders beside those that write: opened from our folders, ours from theirs."""

import warnings

import pytest
import torch
import transformers

from viva.base.choice import variant
from viva.base.config import kind
from viva.base.errors import Notice
from viva.model import folder
from viva.model.arch import gpt2
from viva.model.head import classify, none, regress, tag
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.tokenizer import Tokenizer

FAMILIES = ("gpt2", "openai_gpt", "llama", "mistral", "qwen2", "qwen2_moe", "qwen3", "gemma2")
HEADS = (
    classify.Config(labels=3, bias=False),
    regress.Config(bias=False),
    tag.Config(labels=3, dropout=0.2),
    none.Config(),
)
PAD, T = 0, 11


def cases():
    for name in FAMILIES:
        for head in HEADS:
            if kind(head) in variant("viva.model.arch", name).HEADS:
                yield pytest.param(name, head, id=f"{name}-{kind(head)}")


@pytest.mark.parametrize(("name", "head"), list(cases()))
def test_a_decoder_with_one_of_their_heads_is_their_model(name, head, tmp_path):
    """Rows of unequal length, padded: the last token of each is found alike. No scores are left over on either side."""
    family = variant("viva.model.arch", name)
    config = family.TINY.model_copy(update={"head": head})
    ours = initialise(config.spec().build(), 1).eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)) * 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        folder.require_savable(config, ours)
    folder.save(tmp_path / "ours", config, ours)
    theirs = getattr(transformers, family.HEADS[kind(head)])
    twin, found = theirs.from_pretrained(tmp_path / "ours", output_loading_info=True, pad_token_id=PAD)
    assert not found["missing_keys"] and not found["unexpected_keys"]
    ids, lengths = torch.randint(3, 64, (2, T), generator=torch.Generator().manual_seed(3)), (T, 6)
    ids[1, lengths[1] :] = PAD
    layout = Layout.packed(tuple((n,) for n in lengths), T)
    expected = twin.eval()(ids, attention_mask=(ids != PAD).long())[0]
    for model in (ours, again(twin, config, tmp_path / "theirs")):
        mine = model(ids, layout)
        for row, n in enumerate(lengths):
            one = kind(head) in ("classify", "regress")
            pair = (mine[row], expected[row].view_as(mine[row])) if one else (mine[row, :n], expected[row, :n])
            torch.testing.assert_close(*pair, atol=1e-5, rtol=1e-5)


def again(twin, config, place):
    """The model that we read from a folder of theirs."""
    twin.save_pretrained(place)
    loaded = folder.load(place)
    assert loaded.model.spec == config.spec()
    return loaded.model


def test_a_text_that_ends_in_the_padding_token_has_its_class_by_that_token(tmp_path):
    """As with GPT-2's tokenizer once it is given its end token to pad with; transformers passes over padding."""
    tokenizer = byte_bpe.train(["some words to learn"], byte_bpe.Config(vocab_size=270))
    tokenizer = Tokenizer(tokenizer.core, {**tokenizer.config, "pad_token": tokenizer.config["eos_token"]})
    config = gpt2.TINY.model_copy(update={"vocab": 270, "head": classify.Config(labels=3, bias=False)})
    model = initialise(config.spec().build(), 1).eval()
    folder.save(tmp_path / "m", config, model, tokenizer)
    twin = transformers.GPT2ForSequenceClassification.from_pretrained(tmp_path / "m").eval()
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    ids = tokens("some words", return_tensors="pt")
    assert ids.input_ids[0, -1] == tokens.pad_token_id
    torch.testing.assert_close(model(ids.input_ids), twin(**ids).logits, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="Cannot handle batch sizes > 1 if no padding token is defined"):
        twin(**tokens(["some words", "some"], padding=True, return_tensors="pt"))


def test_a_bare_model_whose_embeddings_are_tied_still_scores_words(tmp_path):
    """GPT2Model's files hold all that GPT2LMHeadModel's do; LlamaModel's lack the matrix of LlamaForCausalLM."""
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "vocab_size": 64}
    transformers.GPT2Model(transformers.GPT2Config(n_positions=32, **sizes)).save_pretrained(tmp_path / "gpt2")
    transformers.LlamaModel(transformers.LlamaConfig(intermediate_size=24, **sizes)).save_pretrained(tmp_path / "llama")
    heads = [kind(folder.load(tmp_path / name).model.spec.head) for name in ("gpt2", "llama")]
    assert heads == ["lm", "none"]
