"""Words filled in: the same tokens with the same scores as transformers' pipeline gives, from one folder."""

import pytest
import tokenizers
import torch
import transformers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

import viva
from viva.model import folder
from viva.model.arch import bert, roberta
from viva.model.init import initialise
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.tokenizer import Tokenizer

TEXT = "the old cat sleeps in the sun and a small dog runs home"


def wordpiece() -> Tokenizer:
    """As BERT has it: lower case, [CLS] text [SEP]."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(TEXT.split()), "##s", "."]
    core = tokenizers.Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    core.normalizer, core.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    core.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    roles = {f"{word.strip('[]').lower()}_token": word for word in words[:5]}
    return Tokenizer(core, roles)


def bytes_level() -> Tokenizer:
    """As RoBERTa is published: the mask takes the space in front of it."""
    made = byte_bpe.train([TEXT] * 3, byte_bpe.Config(vocab_size=290))
    mask = AddedToken("<mask>", lstrip=True, special=True, normalized=False)
    made.core.add_special_tokens([mask])
    return Tokenizer(made.core, {**made.words, "mask_token": "<mask>"})


CASES = {
    "bert": (bert, wordpiece, ["The old [MASK] sleeps.", "[MASK] cat [MASK] in the sun", "a dog[MASK]"]),
    "roberta": (roberta, bytes_level, ["the old <mask> sleeps", "<mask> cat  <mask> in", "a<mask> <mask>"]),
}


@pytest.mark.parametrize("name", CASES)
def test_as_the_pipeline_of_transformers(name, tmp_path):
    family, made, texts = CASES[name]
    tokenizer = made()
    roles = {"pad": tokenizer.pad_id} if "pad" in family.Config.model_fields else {}
    config = family.TINY.model_copy(update={"vocab": tokenizer.vocab_size, **roles})
    model = initialise(config.spec().build(), seed=3)
    with torch.no_grad():
        model.embedding.weight.mul_(30)  # so that the words decide
    folder.save(tmp_path / "m", config, model, tokenizer)
    ours, theirs = viva.load(tmp_path / "m"), transformers.pipeline("fill-mask", model=str(tmp_path / "m"))
    for text in texts:
        expected = theirs(text)
        expected = expected if isinstance(expected[0], list) else [expected]
        found = ours.fill(text)
        assert [[guess.id for guess in row] for row in found] == [[each["token"] for each in row] for row in expected]
        assert [[guess.token for guess in row] for row in found] == [
            [each["token_str"] for each in row] for row in expected
        ]
        for row, others in zip(found, expected, strict=True):
            assert [guess.probability for guess in row] == pytest.approx([each["score"] for each in others], abs=1e-5)
    assert found[0][0].probability > 0.05
