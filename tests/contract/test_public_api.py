"""What `import viva` promises: light to import, and load, generate, chat, save, train as documented."""

import shutil
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import pytest
import torch
import transformers

import viva
from viva.base import machine
from viva.base.errors import Refusal
from viva.model import folder
from viva.model.arch import llama, qwen2
from viva.model.init import initialise
from viva.model.transformer import Transformer
from viva.text.talk import chat
from viva.text.tokens.learn import byte_bpe

TALK = [{"role": "user", "content": "2 + 3"}]


def test_import_is_light():
    """The fastest of three under a second, since other work may share the machine."""
    code = "import sys, viva; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - start)
    assert min(times) < 1


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = viva.lode
    assert {"load", "load_tokenizer", "train", "LanguageModel", "Refusal"} <= set(dir(viva))


@pytest.fixture(scope="module")
def tokenizer():
    return byte_bpe.train(["some words to merge, some words to learn\n" * 3], byte_bpe.Config(vocab_size=300))


@pytest.fixture(scope="module")
def saved(tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny"
    config = llama.TINY.model_copy(update={"vocab": tokenizer.vocab_size})
    folder.save(path, config, initialise(Transformer(config.spec())), tokenizer)
    return path


def test_the_first_token_does_not_wait_for_the_compiler_nor_the_hub(saved):
    code = f"import sys, viva; viva.load({str(saved)!r}).generate('some', max_new_tokens=2)\n"
    heavy = ("torch._dynamo", "sympy", "huggingface_hub", "datasets", "pandas", "matplotlib", "rich", "transformers")
    code += f"found = set({heavy!r}) & set(sys.modules); assert not found, found"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_logits_are_those_of_transformers(saved):
    m = viva.load(saved)
    ids = [m.tokenizer.encode("some words")]
    twin = transformers.AutoModelForCausalLM.from_pretrained(saved)
    torch.testing.assert_close(m(ids), twin(torch.tensor(ids)).logits, atol=1e-5, rtol=1e-5)
    assert m.spec == m.config.spec()


def test_generate_is_the_stream_joined_and_the_seed_decides(saved):
    m = viva.load(saved)
    warm = {"temperature": 1.0, "max_new_tokens": 20, "seed": 1}
    text = m.generate("some words", **warm)
    assert text == "".join(m.stream("some words", **warm)) == m.generate("some words", **warm)
    assert text != m.generate("some words", **warm | {"seed": 2})


def test_greedy_text_is_that_of_transformers(saved):
    """A text follows the begin token; transformers is given it by hand."""
    m = viva.load(saved)
    twin = transformers.AutoModelForCausalLM.from_pretrained(saved)
    theirs = transformers.AutoTokenizer.from_pretrained(saved)
    prompt = torch.tensor([[theirs.bos_token_id, *theirs.encode("learn", add_special_tokens=False)]])
    reply = twin.generate(prompt, do_sample=False, max_new_tokens=12)[0, prompt.shape[1] :]
    assert m.generate("learn", temperature=0, max_new_tokens=12) == theirs.decode(reply)


def test_chat_is_given_tools_where_the_template_has_a_form_for_them(saved):
    m = viva.load(saved)
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    m = replace(m, own_tokenizer=m.tokenizer.with_template("qwen3"))
    assert '{"name": "add", "parameters": {}}' in m.tokenizer.decode(m.ids(TALK, tools))
    assert m.ids(TALK, tools) == chat.render(m.tokenizer, TALK, reply=True, tools=tools).ids
    with pytest.raises(Refusal, match="must write the tool 'add'"):
        viva.load(saved).chat(TALK, tools)
    with pytest.raises(Refusal, match="tools must come with the messages of a conversation, but found a text"):
        m.generate("hi", tools)


def test_chat_reads_the_template_with_a_reply_opened(saved):
    m = viva.load(saved)
    assert m.ids(TALK) == chat.render(m.tokenizer, TALK, reply=True).ids
    assert m.chat(TALK, temperature=0, max_new_tokens=8) == m.generate(TALK, temperature=0, max_new_tokens=8)


def test_impossible_sampling_is_refused(saved):
    with pytest.raises(viva.Refusal, match="top_p"):
        viva.load(saved).generate("x", top_p=0)
    with pytest.raises(viva.Refusal, match="length_penalty: Input should be less than or equal to 10"):
        viva.load(saved).generate("x", beams=2, length_penalty=500)
    with pytest.raises(viva.Refusal, match="use 'temperature'"):
        viva.load(saved).generate("x", temprature=1)


def test_save_writes_what_load_reads_and_says_where_it_came_from(saved, tmp_path):
    m = viva.load(saved)
    m.save(tmp_path / "copy")
    again = viva.load(tmp_path / "copy")
    assert torch.equal(again([[1, 2, 3]]), m([[1, 2, 3]]))
    assert folder.load(tmp_path / "copy").manifest["parent"] == str(saved)
    assert viva.load_tokenizer(tmp_path / "copy").fingerprint == m.tokenizer.fingerprint


def test_a_model_without_a_tokenizer_computes_but_does_not_write(tmp_path):
    folder.save(tmp_path / "bare", qwen2.TINY, initialise(Transformer(qwen2.TINY.spec())))
    m = viva.load(tmp_path / "bare")
    assert m([[1, 2]]).shape == (1, 2, 64)
    with pytest.raises(viva.Refusal, match="must have its tokenizer"):
        m.generate("x")


@pytest.mark.parametrize(("rate", "expected"), [(1.0, torch.float32), (1.9, torch.bfloat16), (4.0, torch.bfloat16)])
def test_half_precision_follows_the_measurement(saved, tmp_path, monkeypatch, rate, expected):
    """Beside 2.0 of fp32: what is hardly slower is kept, as it takes half the memory."""
    half = folder.load(saved, torch.bfloat16)
    folder.save(tmp_path / "half", half.config, half.model, half.tokenizer)
    rates = {"float32": 2.0, "bfloat16": rate}
    monkeypatch.setattr(machine, "weight_rate", lambda dtype, on: rates[dtype])
    machine.decodes_faster.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert viva.load(tmp_path / "half").model.embedding.weight.dtype == expected
        assert viva.load(tmp_path / "half", dtype="bfloat16").model.embedding.weight.dtype == torch.bfloat16
    machine.decodes_faster.cache_clear()
    assert ["widened from bfloat16 to float32" in str(notice.message) for notice in caught] == [True] * (rate == 1.0)


def test_unknown_dtype_and_folder_are_refused(saved):
    with pytest.raises(viva.Refusal, match="dtype must be known, but found 'fp16'"):
        viva.load(saved, dtype="fp16")
    for dtype in (torch.int8, torch.complex64, torch.float64):
        with pytest.raises(viva.Refusal, match=rf"dtype must be known, but found {dtype}. To fix it, use '.*float"):
            viva.load(saved, dtype=dtype)
    assert viva.load(saved, dtype=torch.float16).model.embedding.weight.dtype == torch.float16
    with pytest.raises(viva.Refusal, match="must be a folder or a hub id"):
        viva.load("no-such-folder")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A whole run by the public door, of six steps with a checkpoint every two."""
    home = tmp_path_factory.mktemp("run")
    lines = [f"{n} times to be or not to be, that is the question number {n * n}\n" for n in range(60)]
    (home / "text.txt").write_text("".join(lines), encoding="utf-8")
    recipe = {
        "out": str(home / "out"),
        "model": {"kind": "llama", "width": 16, "layers": 1, "heads": 2, "context": 32},
        "tokenizer": {"vocab_size": 270},
        "data": {"kind": "files", "path": str(home / "text.txt"), "piece": 80},
        "valid": 0.2,
        "train": {"steps": 6, "context": 32, "batch": 4, "save_every": 2, "eval_every": 2, "keep": 3},
    }
    return viva.train(recipe, {"train.lr": "1e-2"})


def test_train_returns_the_run_and_load_opens_it(run):
    m = viva.load(run.folder)
    assert m.source == str(run.checkpoint)
    assert isinstance(m.generate("to be", max_new_tokens=4), str)
    assert viva.train.__name__ == "viva.train"  # the folder, though it was called


def test_a_run_whose_newest_checkpoint_is_damaged_says_what_it_passed_over(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    newest = max((copy / "checkpoints").iterdir())
    (newest / "model.safetensors").write_bytes(b"")
    with pytest.warns(viva.Notice, match=f"passed over {newest.name}"):
        m = viva.load(copy)
    assert m.source != str(newest)


def test_save_replaces_its_own_and_nothing_else(saved, tmp_path):
    m = viva.load(saved)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "thesis.txt").write_text("years of work")
    with pytest.raises(viva.Refusal, match=r"must be a new folder or a checkpoint, but found thesis\.txt"):
        m.save(tmp_path / "project")
    with pytest.raises(viva.Refusal, match="must be a new folder or a checkpoint, but found a file"):
        m.save(tmp_path / "project" / "thesis.txt")
    assert (tmp_path / "project" / "thesis.txt").read_text() == "years of work"
    m.save(tmp_path / "own")
    m.save(tmp_path / "own")
    assert folder.fault(tmp_path / "own") is None


def test_ids_beyond_the_vocabulary(saved):
    with pytest.raises(viva.Refusal, match=r"ids must be in \[0, \d+\), but found 1 to 9999"):
        viva.load(saved)([[1, 9999]])


def test_save_does_not_replace_a_runs_checkpoint(run):
    """It holds the training state, which a model alone does not."""
    with pytest.raises(viva.Refusal, match=r"must be a new folder or a checkpoint, but found optimizer\.safetensors"):
        viva.load(run.folder).save(run.checkpoint)


def test_save_to_a_link_writes_what_it_leads_to(saved, tmp_path):
    m = viva.load(saved)
    m.save(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    m.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and sorted(p.name for p in tmp_path.iterdir()) == ["link", "real"]
