"""Ids of vocabularies that others made, beside the ids that others say they give.

    python benchmarks/expected_ids.py --data DIR [--code BYTES]

DIR holds tok_gpt2, tok_llama3, tok_whisper, tok_qwen, tok_clip, tok_bert, tok_minimind, tok_gguf, tok_expected, udhr
and xquad. The first table compares each line of the expected files, the second each text with transformers' (and, where
it has none, tiktoken's) tokenizer of the same files, and with transformers' reading of what viva saves. Code is as much
of the standard library as `--code` says, whole files. The third trains SentencePiece models and asks sentencepiece.
"""

import argparse
import gzip
import json
import sysconfig
import tempfile
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tiktoken
import transformers
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tiktoken.load import load_tiktoken_bpe
from transformers.convert_slow_tokenizer import TikTokenConverter, bytes_to_unicode
from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer

import viva
from viva.cli.table import show
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.start import strings

Ids = Callable[[str], list[int]]
BYTES = {character: byte for byte, character in bytes_to_unicode().items()}
GPT2 = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""  # tiktoken's
LLAMA3 = (  # of Meta's own tokenizer.py
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
GGUF = {"gpt2": "gpt-2", "llama": "llama-spm"}
SENTENCEPIECE = {
    "Unigram": {"model_type": "unigram"},
    "Unigram, byte fallback": {"model_type": "unigram", "byte_fallback": True},
    "BPE": {"model_type": "bpe"},
    "BPE as LLaMA's": {
        "model_type": "bpe",
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "allow_whitespace_only_pieces": True,
    },
}
SPLIT = "\n__ggml_vocab_test__\n"
FRENCH = {  # the vocabulary, and how many special tokens the file sets before and after the text
    "gpt2_encoded_tokens": ("gpt2", 0, 0),
    "bert_uncased_encoded": ("bert", 1, 1),
    "llama_encoded": ("llama gguf", 1, 0),
    "llama_3.2_encoded": ("llama3", 1, 0),
    "whisper_tiny_en_encoded": ("whisper en", 2, 1),
    "whisper_large_v2_encoded": ("whisper", 2, 1),
}
MODELS = {  # of tokenizer_tests.json
    "bert-base-uncased": ("bert", 1, 1),
    "google-bert/bert-base-uncased": ("bert", 1, 1),
    "distilgpt2": ("gpt2", 0, 0),
    "coreml-projects/Llama-2-7b-chat-coreml": ("llama gguf", 1, 0),
    "openai/whisper-tiny.en": ("whisper en", 2, 1),
    "openai/whisper-large-v2": ("whisper", 2, 1),
    "pcuenq/Llama-3.2-1B-Instruct-tokenizer": ("llama3", 1, 0),
}


def vocabularies(data: Path) -> dict[str, Tokenizer]:
    """Every vocabulary, by a short name."""
    told = {"gpt2": {"pattern": "gpt2"}, "llama3": {"pattern": "llama3"}}
    places = {
        "gpt2": "tok_gpt2",
        "llama3": "tok_llama3",
        "whisper en": "tok_whisper/gpt2.tiktoken",
        "whisper": "tok_whisper/multilingual.tiktoken",
        "qwen": "tok_qwen/qwen.tiktoken",
        "clip": "tok_clip",
        "bert": "tok_bert/bert_base_uncased_vocab.txt",
        "bert zh": "tok_bert/bert_base_chinese_vocab.txt",
        "minimind": "tok_minimind",
        "gpt2 gguf": "tok_gguf/ggml-vocab-gpt-2.gguf",
        "llama gguf": "tok_gguf/ggml-vocab-llama-spm.gguf",
        "bert gguf": "tok_gguf/ggml-vocab-bert-bge.gguf",
    }
    return {name: viva.load_tokenizer(data / place, **told.get(name, {})) for name, place in places.items()}


@dataclass(frozen=True)
class Line:
    """One text of a file, the ids it is expected to have, and what is known of it if they are others."""

    text: str
    ids: list[int]


def expected(data: Path) -> Iterator[tuple[str, str, list[Line]]]:
    """(file, vocabulary, lines) of every expected file; the vocabulary "" where DIR has none."""
    gguf = {
        "gpt-2": ("gpt2", "gpt2 gguf", "whisper en"),
        "llama-spm": ("llama gguf",),
        "bert-bge": ("bert gguf", "bert"),
    }
    for name, known in (gguf | {"qwen2": ("qwen",), "llama-bpe": ("llama3",)}).items():
        file = data / "tok_gguf" / f"ggml-vocab-{name}.gguf"
        texts = file.with_suffix(".gguf.inp").read_text(encoding="utf-8").split(SPLIT)
        ids = file.with_suffix(".gguf.out").read_text(encoding="utf-8").split("\n")
        for each in known:
            yield f"{file.name}.out", each, [Line(t, [*map(int, i.split())]) for t, i in zip(texts, ids, strict=True)]
    folder = data / "tok_expected"
    questions, ids = (_json(folder / f"bert_{name}.json.gz") for name in ("question_tokens", "tokenized_questions"))
    lines = [Line(question["original"], own) for question, own in zip(questions, ids, strict=True)]
    yield "bert_tokenized_questions.json.gz", "bert", lines
    for name, (vocabulary, before, after) in FRENCH.items():
        said = _json(folder / f"{name}.json")
        yield f"{name}.json", vocabulary, [Line(said["text"], _inner(said["token_ids"], before, after))]
    for name, cases in _json(folder / "tokenizer_tests.json.gz").items():
        vocabulary, before, after = MODELS.get(name, ("", 0, 0))
        lines = [Line(case["input"], _inner(case["encoded"]["input_ids"], before, after)) for case in cases]
        yield f"tokenizer_tests.json.gz: {name}", vocabulary, lines


def _inner(ids: list[int], before: int, after: int) -> list[int]:
    return ids[before : len(ids) - after]


def _json(file: Path):
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8") as lines:
        return json.load(lines)


def compare_expected(data: Path, known: dict[str, Tokenizer]) -> None:
    rows = []
    for file, name, lines in expected(data):
        if not name:
            rows.append([file, "none here", str(len(lines)), "not compared", "its vocabulary is not among the data"])
            continue
        others = [line for line in lines if known[name].encode(line.text) != line.ids]
        found = "; ".join(_difference(known[name], line.text, line.ids) for line in others[:2])
        rows.append([file, name, str(len(lines)), str(len(lines) - len(others)), found])
    show(["file", "vocabulary", "lines", "equal", "others"], rows)


def _difference(tokenizer: Tokenizer, text: str, theirs: list[int]) -> str:
    ours = tokenizer.encode(text)
    place = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    piece = lambda ids: [tokenizer.core.id_to_token(number) for number in ids[place : place + 3]]  # noqa: E731
    return f"{text[:30]!r} at {place}: {piece(ours)} for {piece(theirs)}"


def twins(data: Path, known: dict[str, Tokenizer]) -> dict[str, Ids]:
    """What transformers, or where it reads no such file tiktoken, makes of the same files."""
    gpt2 = (_json(data / "tok_gpt2/vocab.json.gz"), _merges(data / "tok_gpt2/merges.txt.gz"))
    llama3 = {_bytes(token): rank for token, rank in _json(data / "tok_llama3/vocab.json.gz").items()}
    clip = _merges(data / "tok_clip/bpe_simple_vocab_16e6.txt.gz")[: 49152 - 256 - 2]
    letters = [*bytes_to_unicode().values()]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *map("".join, clip)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    converter = TikTokenConverter(str(data / "tok_qwen/qwen.tiktoken"))
    qwen = transformers.Qwen2Tokenizer(*converter.extract_vocab_merges_from_model(converter.vocab_file))
    whisper = transformers.WhisperTokenizer(
        *TikTokenConverter().extract_vocab_merges_from_model(str(data / "tok_whisper/multilingual.tiktoken"))
    )
    made = {
        "gpt2": transformers.GPT2Tokenizer(*gpt2),
        "clip": transformers.CLIPTokenizer({token: i for i, token in enumerate(tokens)}, clip),
        "qwen": qwen,
        "whisper": whisper,
        "bert": transformers.BertTokenizer(str(data / "tok_bert/bert_base_uncased_vocab.txt")),
        "bert gguf": transformers.BertTokenizer(str(data / "tok_bert/bert_base_uncased_vocab.txt")),
        "bert zh": transformers.BertTokenizer(str(data / "tok_bert/bert_base_chinese_vocab.txt")),
        "minimind": transformers.AutoTokenizer.from_pretrained(data / "tok_minimind"),
    }
    return {
        **{name: _plain(twin) for name, twin in made.items()},
        "whisper en": _tiktoken(load_tiktoken_bpe(str(data / "tok_whisper/gpt2.tiktoken")), GPT2),
        "llama3": _tiktoken(llama3, LLAMA3),
        **{f"{name} gguf": _of_gguf(data / f"tok_gguf/ggml-vocab-{file}.gguf") for name, file in GGUF.items()},
    }


def _of_gguf(file: Path) -> Ids:
    architecture, parts, _ = get_gguf_tokenizer(str(file))
    core, _ = convert_gguf_tokenizer(architecture, parts)
    core.encode_special_tokens = True
    return lambda text: core.encode(text, add_special_tokens=False).ids


def _bytes(token: str) -> bytes:
    return bytes(BYTES[character] for character in token)


def _merges(file: Path) -> list[tuple[str, str]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        pairs = [line.rstrip("\n") for line in lines]
    return [tuple(pair.split(" ")) for pair in pairs if pair and "#version" not in pair]


def _tiktoken(ranks: dict[bytes, int], pattern: str) -> Ids:
    return tiktoken.Encoding("twin", pat_str=pattern, mergeable_ranks=ranks, special_tokens={}).encode_ordinary


def _plain(twin) -> Ids:
    return lambda text: twin.encode(text, add_special_tokens=False, split_special_tokens=True)


def _saved(tokenizer: Tokenizer) -> Ids:
    """What transformers makes of the files that viva saves."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(folder)
        return _plain(transformers.AutoTokenizer.from_pretrained(folder))


def corpora(data: Path, code: int) -> Iterator[tuple[str, list[str]]]:
    """(name, texts): the declaration in every language, passages and questions in twelve, code."""
    with gzip.open(data / "udhr/udhr.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield "udhr", [text for line in lines for text in strings(json.loads(line))]
    yield "xquad", [text for file in sorted(data.glob("xquad/*.json.gz")) for text in strings(_json(file)["data"])]
    files, size = [], 0
    for file in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if not {"site-packages", "test", "tests"} & set(file.parts) and size < code:
            with tokenize.open(file) as opened:
                files.append(opened.read())
            size += len(files[-1])
    yield "code", files


def compare_twins(data: Path, known: dict[str, Tokenizer], code: int) -> None:
    """Every text of every corpus by ours, by its twin, and by transformers' reading of what ours saves."""
    rows, texts = [], dict(corpora(data, code))
    others = twins(data, known)
    for name, tokenizer in known.items():
        saved = _saved(tokenizer)
        for corpus, each in texts.items():
            ours = [tokenizer.encode(text) for text in each]
            by_twin = [others[name](text) for text in each]
            same = sum(mine == theirs for mine, theirs in zip(ours, by_twin, strict=True))
            opened = sum(mine == saved(text) for mine, text in zip(ours, each, strict=True))
            unlike = [place for place, mine in enumerate(ours) if mine != by_twin[place]]
            found = "; ".join(_difference(tokenizer, each[place], by_twin[place]) for place in unlike[:2])
            rows.append([name, corpus, str(len(each)), str(same), str(opened), found])
    show(["vocabulary", "corpus", "texts", "equal to the twin", "equal as saved", "others"], rows)


def compare_sentencepiece(data: Path) -> None:
    """Models trained here on a sixth of the declarations, asked about every declaration and the first lines of each."""
    with gzip.open(data / "udhr/udhr.jsonl.gz", "rt", encoding="utf-8") as lines:
        whole = [json.loads(line)["text"] for line in lines]
    parts = [[part for part in text.split("\n") if part.strip()] for text in whole]
    texts, rows = [*whole, *(part for each in parts for part in each[:20])], []
    for name, options in SENTENCEPIECE.items():
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "m.model"
            learn = {**options, "vocab_size": 3300, "hard_vocab_limit": False, "minloglevel": 2, "num_threads": 1}
            with file.open("wb") as made:
                sentences = (part for each in parts[::6] for part in each)
                SentencePieceTrainer.train(sentence_iterator=sentences, model_writer=made, **learn)
            ours, twin = viva.load_tokenizer(file), SentencePieceProcessor(model_file=str(file))
            saved = _saved(ours)
        both = [(text, ours.encode(text), twin.encode(text)) for text in texts]
        unlike = [_difference(ours, text, theirs) for text, mine, theirs in both if mine != theirs]
        opened = sum(mine == saved(text) for text, mine, _ in both)
        rows.append([name, str(len(texts)), str(len(texts) - len(unlike)), str(opened), "; ".join(unlike[:2])])
    show(["sentencepiece", "texts", "equal to the twin", "equal as saved", "others"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--code", type=int, default=2_000_000, help="characters of code")
    options = parser.parse_args()
    known = vocabularies(options.data)
    compare_expected(options.data, known)
    print()
    compare_twins(options.data, known, options.code)
    print()
    compare_sentencepiece(options.data)


if __name__ == "__main__":
    main()
