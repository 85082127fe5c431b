"""Each form of tokenizer against the library that made it, on texts of many scripts."""

import base64
import gzip
import io
import json
import re
import warnings
from dataclasses import replace

import gguf
import pytest
import sentencepiece
import tiktoken
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_texts import TEXTS
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from viva.base.errors import Notice, Refusal
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.patterns import PATTERNS
from viva.text.tokens.probes import PROBES
from viva.text.tokens.read._byte_level import CHARACTER
from viva.text.tokens.read._known import KNOWN, told
from viva.text.tokens.read._merges import recovered
from viva.text.tokens.tokenizer import Tokenizer

ALL = [*PROBES, *TEXTS, "", " ", "\n", "the cat's 3 dogs' 12345 tails", "x" * 50]
BYTES = {character: byte for byte, character in CHARACTER.items()}
TIKTOKEN = {  # the patterns as tiktoken and Meta write them
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
    "cl100k_base": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k_base": "|".join(
        [
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"\p{N}{1,3}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        ]
    ),
}


def quiet(path, **told) -> Tokenizer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        return Tokenizer.load(path, **told)


def parts(tokenizer: Tokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = json.loads(tokenizer.core.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def plain(twin, text: str) -> list[int]:
    return twin.encode(text, add_special_tokens=False, split_special_tokens=True)


def written(folder, vocab, merges, **config):
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def bytes_bpe():
    """A byte-level vocabulary and its merges, the special tokens left out."""
    vocab, merges = parts(byte_bpe.train(ALL, byte_bpe.Config(vocab_size=420)))
    kept = [token for token, _ in sorted(vocab.items(), key=lambda item: item[1]) if not token.startswith("<|")]
    return {token: number for number, token in enumerate(kept)}, merges


@pytest.fixture(scope="module")
def ranks(bytes_bpe):
    return {bytes(BYTES[c] for c in token): number for token, number in bytes_bpe[0].items()}


@pytest.fixture(params=["plain", "gzipped"])
def packed(request):
    return request.param == "gzipped"


def test_vocab_and_merges_of_gpt2(bytes_bpe, tmp_path, packed):
    vocab, merges = bytes_bpe
    vocab = {**vocab, "<|endoftext|>": len(vocab)}
    written(tmp_path, vocab, merges, tokenizer_class="GPT2Tokenizer")
    if packed:
        for name in ("vocab.json", "merges.txt"):
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
            (tmp_path / name).unlink()
    ours, twin = Tokenizer.load(tmp_path), transformers.GPT2Tokenizer(vocab, merges)
    assert [ours.encode(text) for text in ALL] == [plain(twin, text) for text in ALL]
    assert ours.eos_id == twin.eos_token_id == len(vocab) - 1
    assert [ours.decode(ours.encode(text)) for text in ALL] == ALL


def test_roberta_frames_one_text_and_two(bytes_bpe, tmp_path):
    vocab, merges = bytes_bpe
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *vocab, "<mask>"]
    vocab = {token: number for number, token in enumerate(tokens)}
    (written(tmp_path, vocab, merges) / "config.json").write_text('{"model_type": "roberta"}')
    ours, twin = Tokenizer.load(tmp_path), transformers.RobertaTokenizer(vocab, merges)
    assert [ours.encode(text) for text in ALL] == [plain(twin, text) for text in ALL]
    assert ours.encode_framed(["one"])[0].ids == twin("one")["input_ids"]
    assert ours.encode_framed([("one", "two")])[0].ids == twin("one", "two")["input_ids"]
    assert ours.id("<mask>") == twin.mask_token_id and ours.pad_id == twin.pad_token_id == 1


def test_qwen2_brings_texts_to_nfc(bytes_bpe, tmp_path):
    vocab, merges = bytes_bpe
    vocab = {**vocab, "<|endoftext|>": len(vocab)}
    written(tmp_path, vocab, merges, tokenizer_class="Qwen2Tokenizer")
    ours, twin = Tokenizer.load(tmp_path), transformers.Qwen2Tokenizer(vocab, merges)
    assert [ours.encode(text) for text in ALL] == [plain(twin, text) for text in ALL]
    assert ours.encode("e\u0301") == ours.encode("é")


FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
TOOLS = ["a <tool> b<|end|>", "x <tool></tool>", " </tool>\n<|im_end|> <|x|>", "un</tool>der <|endoftext|> z"]


def listed(first, **flags):
    """added_tokens_decoder of a special token that the vocabulary may have, and of three behind it, two ordinary."""
    tokens = [("<|endoftext|>", True), ("<tool>", False), ("<|im_end|>", True), ("</tool>", False)]
    return {str(first + i): {"content": t, "special": s, **FLAGS, **flags} for i, (t, s) in enumerate(tokens)}


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("GPT2Tokenizer", {}),
        ("GPT2Tokenizer", {"lstrip": True}),
        ("GPT2Tokenizer", {"rstrip": True, "single_word": True}),
        ("Qwen2Tokenizer", {}),  # of this class transformers forgets the flags of tokens with a role
    ],
    ids=str,
)
def test_added_tokens_have_the_ids_and_flags_that_are_listed(bytes_bpe, tmp_path, name, flags):
    vocab, merges = bytes_bpe
    written(
        tmp_path, vocab, merges, tokenizer_class=name, added_tokens_decoder=listed(len(vocab), **flags),
        eos_token="<|im_end|>", unk_token="<|endoftext|>",
    )  # fmt: skip
    ours, twin = Tokenizer.load(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert [list(found.ids) for found in ours.encode_marked(TOOLS)] == [twin.encode(text) for text in TOOLS]
    assert [ours.id(token) for token in ("<tool>", "<|im_end|>", "</tool>")] == [len(vocab) + i for i in (1, 2, 3)]
    assert list(ours.specials) == ["<|endoftext|>", "<|im_end|>"] and ours.vocab_size == len(twin)


def test_added_tokens_of_older_files(bytes_bpe, tmp_path):
    vocab, merges = bytes_bpe
    vocab = {**vocab, "<|endoftext|>": len(vocab)}
    written(tmp_path, vocab, merges, tokenizer_class="GPT2Tokenizer")
    added = {"<|im_end|>": len(vocab) + 1, "<tool>": len(vocab)}
    (tmp_path / "added_tokens.json").write_text(json.dumps(added))
    named = {"unk_token": "<|endoftext|>", "additional_special_tokens": ["<|im_end|>"]}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(named))
    ours, twin = Tokenizer.load(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert [list(found.ids) for found in ours.encode_marked(TOOLS)] == [twin.encode(text) for text in TOOLS]
    assert {token: ours.id(token) for token in added} == added == {t: twin.convert_tokens_to_ids(t) for t in added}
    assert ours.encode("<tool>") == [added["<tool>"]] and added["<|im_end|>"] not in ours.encode("<|im_end|>")


def test_an_added_token_of_wordpiece(tmp_path):
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "covid", "##19", "low"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n")
    added = {"8": {"content": "covid19", "special": False, **FLAGS}}
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "added_tokens_decoder": added}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours, twin = Tokenizer.load(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert ours.encode("low covid19 Covid19") == plain(twin, "low covid19 Covid19") == [7, 8, 5, 6]


def test_an_added_token_whose_id_cannot_be_kept_is_refused(bytes_bpe, tmp_path):
    vocab, merges = bytes_bpe
    gap = len(vocab) + 5
    written(tmp_path, vocab, merges, tokenizer_class="GPT2Tokenizer", added_tokens_decoder=listed(gap))
    says = rf"'<\|endoftext\|>' must get the id {gap} that is written for it, but found {len(vocab)}\. .*without gaps"
    with pytest.raises(Refusal, match=says):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("name", ["GPT2Tokenizer", "RobertaTokenizer", "Qwen2Tokenizer"])
@pytest.mark.parametrize("prefix", [True, False])
def test_a_space_is_put_before_a_text_where_the_configuration_says_so(bytes_bpe, tmp_path, name, prefix):
    vocab, merges = bytes_bpe
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *vocab, "<mask>", "<|endoftext|>"]
    vocab = {token: number for number, token in enumerate(tokens)}
    written(tmp_path, vocab, merges, tokenizer_class=name, add_prefix_space=prefix)
    twin = transformers.AutoTokenizer.from_pretrained(tmp_path)
    twin.save_pretrained(tmp_path / "json")
    file = tmp_path / "json" / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"add_prefix_space": not prefix}))
    for folder in (tmp_path, tmp_path / "json"):  # in the second the two files say different things
        ours, twin = Tokenizer.load(folder), transformers.AutoTokenizer.from_pretrained(folder)
        assert [ours.encode(text) for text in ("low", " low", "\nlow", *ALL)] == [
            plain(twin, text) for text in ("low", " low", "\nlow", *ALL)
        ]
    assert (ours.encode("low") == ours.encode(" low")) is not prefix


def test_merges_whose_words_are_not_said_are_refused(bytes_bpe, tmp_path):
    written(tmp_path, *bytes_bpe)
    with pytest.raises(Refusal, match=r'must name the tokenizer.s class.*found none\. .*pattern="gpt2"'):
        Tokenizer.load(tmp_path)
    with pytest.raises(Refusal, match=r"pattern must be that of a known vocabulary, but found 'gpt3'.*use 'gpt2'"):
        Tokenizer.load(tmp_path, pattern="gpt3")
    (tmp_path / "merges.txt").write_text("a b\na b c\n")
    with pytest.raises(Refusal, match=r"must hold two tokens a line, but found .*'c'.* in merge 1"):
        Tokenizer.load(tmp_path, pattern="gpt2")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Merges as CLIP's file has them, and the vocabulary that follows: made by the algorithm's own trainer."""
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    core = tokenizers.Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    core.train_from_iterator(ALL, trainers.BpeTrainer(vocab_size=700, end_of_word_suffix="</w>", show_progress=False))
    merges = [tuple(pair) for pair in json.loads(core.to_str())["model"]["merges"]]
    file = tmp_path_factory.mktemp("clip") / "bpe_simple_vocab_16e6.txt.gz"
    file.write_bytes(gzip.compress(("#version\n" + "".join(f"{a} {b}\n" for a, b in merges)).encode()))
    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(c + "</w>" for c in letters), *map("".join, merges), "<|startoftext|>", "<|endoftext|>"]
    return file, {token: number for number, token in enumerate(tokens)}, merges


@pytest.mark.parametrize("form", ["its own file", "vocab and merges"])
def test_clip(clip, tmp_path, form):
    file, vocab, merges = clip
    ours = Tokenizer.load(file if form == "its own file" else written(tmp_path, vocab, merges))
    twin = transformers.CLIPTokenizer(vocab, merges)
    texts = [text for text in ALL if "<|" not in text]  # its own pattern takes these for special
    assert [ours.encode(text) for text in texts] == [plain(twin, text) for text in texts]
    assert ours.encode_framed(["a cat"])[0].ids == twin("a cat")["input_ids"]
    ours.save(tmp_path / "saved")
    saved = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path / "saved")
    assert ours.decode([]) == saved.decode([]) == "" and ours.stream().push(ours.id("a</w>")) == "a"
    assert ours.decode(ours.encode("It's a CAT")) == twin.decode(twin.encode("It's a CAT", add_special_tokens=False))


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz0123456789.,!'é我们"]
WORDS += [f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789"] + ["hello", "world", "cafe", "##ing", "[unused1]"]


@pytest.mark.parametrize("lower", [True, False])
def test_wordpiece(tmp_path, lower):
    words = WORDS if lower else [*WORDS, "Hello", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    case = "lower case" if lower else "their own case"
    with pytest.warns(Notice, match=f"texts are read in {case}"):
        ours = Tokenizer.load(tmp_path)
    twin = transformers.BertTokenizer(str(tmp_path / "vocab.txt"), do_lower_case=lower)
    assert [ours.encode(text) for text in ALL] == [plain(twin, text) for text in ALL]
    assert ours.encode_framed([("hello", "world")])[0].ids == twin("hello", "world")["input_ids"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": not lower}))
    other = transformers.BertTokenizer(str(tmp_path / "vocab.txt"), do_lower_case=not lower)
    assert Tokenizer.load(tmp_path).encode("Hello CAFÉ") == plain(other, "Hello CAFÉ")


def test_a_wordpiece_file_that_cannot_be(tmp_path):
    (tmp_path / "vocab.txt").write_text("a\nb\na\n")
    with pytest.raises(Refusal, match="must hold each token once, but found 'a' twice"):
        Tokenizer.load(tmp_path)
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(Refusal, match=r"must hold BERT's special tokens, but found no \[UNK\] and no \[CLS\]"):
        quiet(tmp_path)
    with pytest.raises(Refusal, match=r"do_lower_case of .* must be true or false, but found 'yes'"):
        Tokenizer.load(tmp_path, do_lower_case="yes")


def tiktoken_file(path, ranks):
    path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items()))
    return path


@pytest.mark.parametrize("name", TIKTOKEN)
def test_tiktoken(ranks, tmp_path, name):
    file = tiktoken_file(tmp_path / f"{name}.tiktoken", ranks)
    with pytest.warns(Notice, match=rf"has {len(ranks)} ranks where the vocabulary that is named has \d+: no special"):
        ours = Tokenizer.load(file)
    twin = tiktoken.Encoding("twin", pat_str=TIKTOKEN[name], mergeable_ranks=ranks, special_tokens={})
    assert [ours.encode(text) for text in ALL] == [twin.encode_ordinary(text) for text in ALL]


WHISPER = {  # ids of <|transcribe|>, <|nospeech|>, <|0.00|> and vocab_size in the models' generation_config and config
    "whisper_en": (99, 50358, 50361, 50363, 51864),  # tiny.en
    "whisper": (99, 50359, 50362, 50364, 51865),  # tiny, large-v2
    "whisper_v3": (100, 50360, 50363, 50365, 51866),  # large-v3
}


@pytest.mark.parametrize("name", WHISPER)
def test_the_special_tokens_of_whisper(name):
    languages, *ids, size = WHISPER[name]
    found = told(name).specials
    assert [found[token] for token in ("<|transcribe|>", "<|nospeech|>", "<|0.00|>")] == ids
    assert found["<|endoftext|>"] == told(name).ranks and max(found.values()) == found["<|30.00|>"] == size - 1
    assert [*found][2 : 2 + languages] == [f"<|{code}|>" for code in [*LANGUAGES][:languages]]
    assert found["<|29.98|>"] == size - 2 and len(found) == size - told(name).ranks


def test_a_file_of_two_vocabularies_says_whose_special_tokens_it_has(ranks, tmp_path, monkeypatch):
    monkeypatch.setitem(KNOWN, "whisper", replace(KNOWN["whisper"], ranks=len(ranks), specials={"<|yue|>": len(ranks)}))
    file = tiktoken_file(tmp_path / "multilingual.tiktoken", ranks)
    with pytest.warns(
        Notice, match=r"multilingual\.tiktoken has the special tokens of Whisper up to large-v2; those of"
    ):
        assert Tokenizer.load(file).specials["<|yue|>"] == len(ranks)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Tokenizer.load(file, pattern="whisper")


def test_a_word_that_no_merge_makes_is_still_a_token_of_tiktoken(ranks, tmp_path):
    odd = {**ranks, b" zqxj": len(ranks)}  # of which no two parts are tokens
    ours = quiet(tiktoken_file(tmp_path / "gpt2.tiktoken", odd))
    twin = tiktoken.Encoding("twin", pat_str=TIKTOKEN["gpt2"], mergeable_ranks=odd, special_tokens={})
    for text in ("a zqxj", "a zqxjk"):
        assert ours.encode(text) == twin.encode_ordinary(text)
    assert len(ranks) in ours.encode("a zqxj")


def test_recovered_merges_are_those_that_were_learned(bytes_bpe):
    vocab, merges = bytes_bpe
    assert recovered(vocab) == merges


def test_tiktoken_files_that_cannot_be_read(ranks, tmp_path):
    with pytest.raises(Refusal, match=r"the name of mine\.tiktoken must tell how it splits a text, but found 'mine'"):
        Tokenizer.load(tiktoken_file(tmp_path / "mine.tiktoken", ranks))
    few = dict(list(ranks.items())[3:])
    with pytest.raises(Refusal, match="must hold every byte, but found 3 missing"):
        Tokenizer.load(tiktoken_file(tmp_path / "gpt2.tiktoken", few))
    (tmp_path / "gpt2.tiktoken").write_bytes(b"IQ== 0\nnonsense\n")
    with pytest.raises(Refusal, match=r"gpt2\.tiktoken:2 must be a token in base64 and its rank"):
        Tokenizer.load(tmp_path / "gpt2.tiktoken")


def trained(**options) -> bytes:
    made = io.BytesIO()
    lines = [line for text in ALL for line in text.split("\n") if line.strip()]
    usual = {"vocab_size": 420, "hard_vocab_limit": False, "minloglevel": 2, "num_threads": 1}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines * 2), model_writer=made, **{**usual, **options}
    )
    return made.getvalue()


LLAMA = {  # as LLaMA's was trained
    "model_type": "bpe",
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "allow_whitespace_only_pieces": True,
    "vocab_size": 700,
    "character_coverage": 0.98,
}
SPM = {
    "unigram": {"model_type": "unigram"},
    "unigram, bytes": {"model_type": "unigram", "byte_fallback": True, "vocab_size": 700, "character_coverage": 0.98},
    "bpe": {"model_type": "bpe"},
    "llama": LLAMA,
    "no prefix": {"model_type": "bpe", "add_dummy_prefix": False},
    "words joined": {"model_type": "unigram", "split_by_whitespace": False},
}
ODD = ["  a  b  ", "a\tb\n\nc ", "<s>x</s><unk><0x41>", "\u2581under \u2581", "\u3000 \xa0x", "fi\u0301n ﷺ ℃"]


def texts(name: str) -> list[str]:
    """All; for Unigram without runs of a letter, which it may cut in several ways that are equally likely."""
    return [text for text in [*ALL, *ODD] if "bpe" in str(SPM[name]) or not re.search(r"(\w|=)\1{5}", text)]


@pytest.mark.parametrize("name", SPM)
def test_sentencepiece(tmp_path, name):
    (tmp_path / "tokenizer.model").write_bytes(trained(**SPM[name]))
    ours = Tokenizer.load(tmp_path)
    twin = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    for text in texts(name):
        assert ours.encode(text) == twin.encode(text), text
    if "byte_fallback" in SPM[name]:  # an unknown piece is written otherwise
        assert [ours.decode(twin.encode(text)) for text in ALL] == [twin.decode(twin.encode(text)) for text in ALL]
    assert (ours.bos_id, ours.eos_id) == (twin.bos_id(), twin.eos_id()) == (1, 2)


def test_runs_of_spaces_of_one_score_are_joined_from_the_left(tmp_path):
    """As LLaMA's are: sentencepiece's own code is asked about a model whose scores are tied."""
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto.FromString(trained(**LLAMA))
    for length in range(2, 9):
        piece = "\u2581" * length
        for there in [there for there in model.pieces if there.piece == piece]:
            model.pieces.remove(there)
        model.pieces.add(piece=piece, score=-1e9, type=1)
    (tmp_path / "tied.model").write_bytes(model.SerializeToString())
    ours = Tokenizer.load(tmp_path)
    twin = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tied.model"))
    for count in range(30):
        for text in (" " * count + "x", "x" + " " * count, f"a{' ' * count}b{' ' * (count // 2)}"):
            assert ours.encode(text) == twin.encode(text), text
    model.pieces.add(piece="zq", score=-1e9, type=1)
    (tmp_path / "tied.model").write_bytes(model.SerializeToString())
    with pytest.raises(Refusal, match=r"the pieces of a BPE model must have an order, but found 8 with the score -1"):
        Tokenizer.load(tmp_path)


def test_symbols_of_the_users_own(tmp_path):
    (tmp_path / "m.model").write_bytes(trained(**LLAMA, user_defined_symbols=["<sep>"]))
    with pytest.warns(Notice, match="a text that begins with one of the model's own symbols, or with spaces, may get"):
        ours = Tokenizer.load(tmp_path)
    twin = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "m.model"))
    for text in ("a<sep>b", "a <sep> b", "a<sep>  b<sep>"):
        assert ours.encode(text) == twin.encode(text)
    (tmp_path / "m.model").write_bytes(trained(model_type="bpe", user_defined_symbols=["<sep>"]))
    with pytest.warns(Notice, match="spaces beside one of the model's own symbols are trimmed otherwise than by"):
        Tokenizer.load(tmp_path)


RUNS = ["\u2581" * length for length in range(2, 8)]
GEMMA = LLAMA | {"add_dummy_prefix": False, "user_defined_symbols": ["<mask>", "\n", "\n\n", "\t", "\u2581\n", *RUNS]}
PARTS = ("a", "the", " ", "  ", " " * 9, "\n", "\n\n\n", "\t", "<mask>", "\u2581", ",")


@given(st.lists(st.sampled_from(PARTS), max_size=9).map("".join))
@settings(max_examples=300)
def test_runs_of_spaces_that_are_symbols_as_gemmas_are(gemma, text):
    ours, of_gguf, twin = gemma
    assert ours.encode(text) == of_gguf.encode(text) == twin.encode(text)


def test_a_run_of_spaces_is_the_longest_symbol_from_the_left(gemma):
    ours, _, twin = gemma
    tokens = [ours.core.id_to_token(number) for number in ours.encode("a" + " " * 9 + "b\n")]
    assert tokens == ["a", RUNS[-1], RUNS[0], "b", "\n"] == twin.encode("a" + " " * 9 + "b\n", out_type=str)
    assert ours.decode(ours.encode("a   b  ")) == "a   b  "


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    """A model with runs of spaces for symbols, as it reads its file and the same in GGUF, and SentencePiece itself."""
    folder = tmp_path_factory.mktemp("gemma")
    (folder / "m.model").write_bytes(trained(**GEMMA))
    twin = sentencepiece.SentencePieceProcessor(model_file=str(folder / "m.model"))
    of_sentencepiece(folder / "m.gguf", "llama", trained(**GEMMA), add_space_prefix=False)
    return Tokenizer.load(folder / "m.model"), Tokenizer.load(folder / "m.gguf"), twin


def test_the_class_of_a_sentencepiece_tokenizer_says_what_is_added(tmp_path):
    (tmp_path / "spiece.model").write_bytes(trained(model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1))
    t5 = Tokenizer.load(tmp_path, tokenizer_class="T5Tokenizer")
    assert t5.id("<extra_id_0>") == t5.vocab_size - 1 and t5.id("<extra_id_99>") == t5.vocab_size - 100
    assert t5.encode_framed(["a"])[0].ids == [*t5.encode("a"), t5.eos_id]
    with pytest.raises(Refusal, match=r"the class of .* must be one of LlamaTokenizer, .* but found 'MBartTokenizer'"):
        Tokenizer.load(tmp_path, tokenizer_class="MBartTokenizer")


def test_xlm_robertas_ids_are_those_of_fairseq(tmp_path):
    (tmp_path / "sentencepiece.bpe.model").write_bytes(trained(model_type="unigram"))
    with pytest.raises(Refusal, match="must name the class of its tokenizer, which gives the ids"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "XLMRobertaTokenizer"}')
    ours = Tokenizer.load(tmp_path)
    twin = transformers.AutoTokenizer.from_pretrained(tmp_path)
    # there special tokens are found in a text, and a space that sentencepiece, asked above, keeps is none
    for text in [text for text in ALL if "s>" not in text and "\u0085" not in text]:
        assert ours.encode(text) == plain(twin, text), text
    assert ours.encode_framed(["one"])[0].ids == twin("one")["input_ids"]
    assert ours.id("<mask>") == twin.mask_token_id == ours.vocab_size - 1


def test_a_damaged_model_is_refused(tmp_path):
    (tmp_path / "m.model").write_bytes(b"\n\xff\xff\xff")
    with pytest.raises(Refusal, match="must be an intact SentencePiece model"):
        Tokenizer.load(tmp_path)


def gguf_file(path, model, **arrays):
    """A GGUF file without tensors, by the library of its makers."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    for name, value in arrays.items():
        getattr(writer, f"add_{name}")(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def test_merges_of_other_tokens_are_refused(tmp_path):
    lists = {"token_list": ["a", "b", "ab"], "token_types": [1, 1, 1], "token_merges": ["a b", "a c"]}
    path = gguf_file(tmp_path / "m.gguf", "gpt2", tokenizer_pre="qwen2", **lists)
    with pytest.raises(Refusal, match=r"merges must be of tokens of the vocabulary, but found .*`c` out of vocabulary"):
        Tokenizer.load(path)


def of_sentencepiece(path, model, content, rules=False, add_space_prefix=True, **options):
    """The GGUF file of a SentencePiece model, with its `rules` of normalisation."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(content)
    return gguf_file(
        path,
        model,
        token_list=[piece.piece for piece in proto.pieces],
        token_scores=[piece.score for piece in proto.pieces],
        token_types=[piece.type for piece in proto.pieces],
        add_space_prefix=add_space_prefix,
        **options,
        **({"precompiled_charsmap": proto.normalizer_spec.precompiled_charsmap} if rules else {}),
    )


def test_gguf_of_a_byte_level_bpe(bytes_bpe, tmp_path):
    vocab, merges = bytes_bpe
    tokens = [*vocab, "<|end|>"]
    file = gguf_file(
        tmp_path / "m.gguf",
        "gpt2",
        tokenizer_pre="gpt-2",
        token_list=tokens,
        token_types=[1] * len(vocab) + [3],
        token_merges=[f"{a} {b}" for a, b in merges],
        eos_token_id=len(vocab),
        add_eos_token=True,
        chat_template="{{ messages }}",
    )
    ours, twin = Tokenizer.load(file), transformers.GPT2Tokenizer(vocab, merges)
    assert [ours.encode(text) for text in ALL] == [plain(twin, text) for text in ALL]
    assert ours.specials == {"<|end|>": len(vocab)} and ours.eos_id == len(vocab)
    assert ours.template == "{{ messages }}"
    assert ours.encode_framed(["a"])[0].ids == [*ours.encode("a"), len(vocab)]
    odd = gguf_file(tmp_path / "odd.gguf", "gpt2", tokenizer_pre="poro", token_list=tokens, token_merges=["a b"])
    with pytest.raises(Refusal, match=r"tokenizer\.ggml\.pre of .* must be known, but found 'poro'"):
        Tokenizer.load(odd)


@pytest.mark.parametrize(("model", "name"), [("llama", "llama"), ("t5", "unigram")])
def test_gguf_of_sentencepiece(tmp_path, model, name):
    content, t5 = trained(**SPM[name]), model == "t5"
    ours = Tokenizer.load(of_sentencepiece(tmp_path / "m.gguf", model, content, t5, remove_extra_whitespaces=t5))
    twin = sentencepiece.SentencePieceProcessor(model_proto=content)
    for text in texts(name):
        assert ours.encode(text) == twin.encode(text), text


def test_gguf_of_wordpiece(tmp_path):
    """llama.cpp marks the start of a word, where BERT's file marks what goes on in it."""
    marked = [w if w.startswith("[") else w[2:] if w.startswith("##") else f"\u2581{w}" for w in WORDS]
    file = gguf_file(tmp_path / "m.gguf", "bert", token_list=marked, token_types=[3] * 5 + [1] * (len(WORDS) - 5))
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS), encoding="utf-8")
    ours, twin = Tokenizer.load(file), transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    assert [ours.encode(text) for text in ALL] == [plain(twin, text) for text in ALL]


def test_damaged_gguf_files(tmp_path, bytes_bpe):
    file = gguf_file(tmp_path / "m.gguf", "gpt2", tokenizer_pre="gpt-2")
    with pytest.raises(Refusal, match=r"must hold tokenizer\.ggml\.tokens, but found none"):
        Tokenizer.load(file)
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(Refusal, match="must be an intact GGUF file"):
        Tokenizer.load(file)
    with pytest.raises(Refusal, match=r"tokenizer\.ggml\.model of .* must be known, but found 'rwkv'.*use '"):
        Tokenizer.load(gguf_file(tmp_path / "m.gguf", "rwkv"))


def test_of_two_forms_in_a_folder_one_is_read_and_said(ours, tmp_path, recwarn):
    ours.save(tmp_path)
    (tmp_path / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\na\ncat\n")
    assert Tokenizer.load(tmp_path).encode("a cat") == ours.encode("a cat")  # what it was made from may lie beside it
    assert not recwarn.list
    (tmp_path / "tokenizer.json").unlink()
    marked = [f"▁{word}" for word in ("[UNK]", "[CLS]", "[SEP]", "a", "cat")]
    gguf_file(tmp_path / "a.gguf", "bert", token_list=marked, token_types=[3] * 3 + [1] * 2)
    with pytest.warns(Notice, match=r"read from .*a\.gguf, not from vocab\.txt beside it"):
        Tokenizer.load(tmp_path)
    for name in ("a.gguf", "b.gguf"):
        gguf_file(tmp_path / name, "gpt2")
    with pytest.raises(Refusal, match=r"must hold one tokenizer \*\.gguf, but found a\.gguf, b\.gguf"):
        Tokenizer.load(tmp_path)


def test_what_a_form_does_not_leave_open_is_not_told(ours, tmp_path):
    ours.save(tmp_path)
    with pytest.raises(Refusal, match=r"must be what tokenizer\.json may leave open, but found pattern"):
        Tokenizer.load(tmp_path, pattern="gpt2")


def test_a_form_is_saved_as_transformers_reads_it(tmp_path, clip, ranks):
    (tmp_path / "spm").mkdir()
    (tmp_path / "spm" / "tokenizer.model").write_bytes(trained(**LLAMA))
    for number, place in enumerate([tmp_path / "spm", clip[0], tiktoken_file(tmp_path / "o200k_base.tiktoken", ranks)]):
        ours = quiet(place)
        ours.save(tmp_path / str(number))
        twin = transformers.AutoTokenizer.from_pretrained(tmp_path / str(number))
        assert [ours.encode(text) for text in ALL] == [plain(twin, text) for text in ALL]
        assert Tokenizer.load(tmp_path / str(number)).fingerprint == ours.fingerprint


def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sentencepiece", None)
    (tmp_path / "m.model").write_bytes(b"\n\x00")
    with pytest.raises(Refusal, match=r"needs the library sentencepiece.*pip install 'viva\[sentencepiece\]'"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_parts_a_text_and_loses_nothing(name):
    from viva.text.tokens import patterns

    for text in ALL:
        pieces = patterns.byte_level(name).pre_tokenize_str(text)
        assert bytes(BYTES[c] for piece, _ in pieces for c in piece).decode() == text
