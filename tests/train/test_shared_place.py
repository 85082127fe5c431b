"""A run's folder: one run at a time, the data it began with, a tokenizer and token cache that are whole."""

import json
import shutil

import pytest

from viva.base import measure, product
from viva.base.errors import Refusal
from viva.base.files import sole_user
from viva.train import checkpoint
from viva.train.evaluation import evaluate
from viva.train.run import run
from viva.train.step import update

from .runs import job, recipe, stop_after, weights
from .test_loop import differing


def test_two_runs_in_one_folder(tmp_path):
    (tmp_path / "run").mkdir()
    with (
        sole_user(tmp_path / "run"),
        pytest.raises(Refusal, match="must be used by one run at a time, but found another at work in it"),
    ):
        run(recipe(tmp_path))
    assert run(recipe(tmp_path)).finished


def test_data_that_changed_since(tmp_path):
    run(recipe(tmp_path, {"train.save_every": 2, "train.keep": 5}))
    shutil.rmtree(checkpoint.place(tmp_path / "run", 6))
    with open(tmp_path / "data.jsonl", "a") as file:
        file.write('{"text": "one row more"}\n')
    with pytest.raises(Refusal, match=r"the data must be what .*step-00000004 was made with"):
        run(recipe(tmp_path, {"train.save_every": 2, "train.keep": 5}))


def test_a_damaged_token_cache(tmp_path):
    run(recipe(tmp_path))
    cache = next(file for file in (tmp_path / "run" / "tokens").iterdir() if (file / "ids.bin").stat().st_size)
    content = bytearray((cache / "ids.bin").read_bytes())
    content[0] ^= 1
    (cache / "ids.bin").write_bytes(content)
    with pytest.raises(Refusal, match=r"ids.bin must be as it was written, but found other bytes. To fix it, delete"):
        run(recipe(tmp_path))


def test_a_kill_between_the_tokenizers_files(tmp_path, monkeypatch):
    """Nothing of it is taken for a tokenizer, and the same command makes it whole."""
    from viva.text.tokens import tokenizer

    real = tokenizer.write_text

    def killed(path, content):
        if path.name == "tokenizer_config.json":
            raise KeyboardInterrupt
        real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(tokenizer, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            run(recipe(tmp_path))
    assert run(recipe(tmp_path)).finished


def test_a_killed_builds_leftovers_go(tmp_path):
    (tmp_path / "run" / "tokens" / ".abc.1.tmp").mkdir(parents=True)
    run(recipe(tmp_path))
    assert not list((tmp_path / "run" / "tokens").glob(".*"))


def test_a_run_goes_on_from_a_run(tmp_path):
    """`init` may name a run, as `viva chat` may."""
    base = run(recipe(tmp_path))
    tuned = run(recipe(tmp_path, {"init": str(base.folder), "model": None, "tokenizer": None}, "tuned"))
    manifest = json.loads((tuned.checkpoint / "viva.json").read_text())
    assert manifest["parent"] == str(base.checkpoint.resolve())


def test_a_resumed_run_multiplies_by_the_library_it_began_with(tmp_path, monkeypatch):
    """Every product through the library chosen, and the measurement telling otherwise the second time."""
    if len(product.KERNELS) < 2:
        pytest.skip("this torch has one library")
    monkeypatch.setattr(product, "LARGE", {True: 0, False: 0})
    monkeypatch.setitem(product.KERNELS, "oneDNN", lambda *given: 1.001 * product.KERNELS["BLAS"](*given))

    def measured(name):
        product.CHOSEN.clear()
        monkeypatch.setattr(product, "_measured", lambda few: measure.Verdict(name, "as the test says"))

    measured("oneDNN")
    straight = run(recipe(tmp_path, {}, "straight"))
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        run(recipe(tmp_path, {}, "resumed"))
    measured("BLAS")
    resumed = run(recipe(tmp_path, {}, "resumed"))
    assert not differing(weights(straight.folder, 6), weights(resumed.folder, 6))
    product.CHOSEN.clear()


def test_what_is_cut_is_said(tmp_path, capsys):
    run(recipe(tmp_path, {"train.context": 8}))
    assert "documents are longer than the context of 8 tokens and are cut into pieces" in capsys.readouterr().err


def test_a_run_that_was_moved_goes_on(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 3)
        run(recipe(tmp_path))
    (tmp_path / "run").rename(tmp_path / "moved")
    done = run(recipe(tmp_path, {}, "moved"))
    assert done.finished and done.metrics["step"] == 6


def test_a_save_at_least_every_so_many_minutes(tmp_path):
    run(recipe(tmp_path, {"train.save_minutes": 1e-9, "train.keep": 9}))
    assert len(list(tmp_path.glob("run/checkpoints/step-*"))) == 6


def test_a_cache_of_another_version(tmp_path):
    run(recipe(tmp_path))
    for header in tmp_path.glob("run/tokens/*/header.json"):
        header.write_text(json.dumps(json.loads(header.read_text()) | {"version": 1}))
    with pytest.raises(Refusal, match="must have version 4, but found 1"):
        run(recipe(tmp_path))


def test_the_others_rate_is_a_multiple(tmp_path):
    work, state = job(tmp_path, {"train.optim": {"kind": "muon", "others": 0.25}})
    update(work, state)
    rates = {group["muon"]: group["lr"] for group in work.optimizer.param_groups}
    assert rates == {True: 1e-2, False: 0.25e-2}


def test_bits_a_byte_only_where_they_are_exact(tmp_path):
    assert "valid_bits_per_byte" in evaluate(job(tmp_path, {"valid": 0.3})[0])
    dropping = {"valid": 0.3, "train.long": "drop", "train.context": 8, "model.context": 8}
    assert "valid_bits_per_byte" not in evaluate(job(tmp_path, dropping, "dropping")[0])


def test_another_tokenizer_than_the_models(tmp_path):
    base = run(recipe(tmp_path))
    other = {"init": str(base.folder), "model": None, "tokenizer.vocab_size": 280}
    with pytest.raises(Refusal, match="needs its own tokenizer"):
        run(recipe(tmp_path, other, "tuned"))


def test_a_run_goes_on_when_its_init_has_moved(tmp_path):
    base = run(recipe(tmp_path))
    tuning = {"init": str(base.folder), "model": None, "tokenizer": None}
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 3)
        run(recipe(tmp_path, tuning, "tuned"))
    base.folder.rename(tmp_path / "elsewhere")
    assert run(recipe(tmp_path, tuning, "tuned")).metrics["step"] == 6


def test_a_damaged_header_of_a_token_cache(tmp_path):
    run(recipe(tmp_path))
    for header in tmp_path.glob("run/tokens/*/header.json"):
        said = json.loads(header.read_text())
        header.write_text(json.dumps({key: value for key, value in said.items() if key != "files"}))
    with pytest.raises(Refusal, match=r"header\.json must be as it was written, but found KeyError"):
        run(recipe(tmp_path))
