"""Damaged checkpoints and full disks: the newest valid one is taken and the others are named, or all are refused."""

import errno
import resource
import shutil
import subprocess

import pytest

from train.runs import job, recipe
from viva.base.errors import Refusal
from viva.train import checkpoint
from viva.train.run import run


@pytest.fixture
def trained(tmp_path):
    """The folder of a run with checkpoints after steps 3 and 6."""
    return run(recipe(tmp_path, {"train.save_every": 3})).folder


def truncate(path):
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def flip(path, name="optimizer.safetensors"):
    content = bytearray((path / name).read_bytes())
    content[-10] ^= 1
    (path / name).write_bytes(content)


def empty(path):
    for file in path.iterdir():
        file.unlink()


DAMAGE = {
    "truncated": (truncate, "model.safetensors has changed since it was written"),
    "bit flipped in the optimizer": (flip, "optimizer.safetensors has changed since it was written"),
    "bit flipped in the config": (
        lambda path: flip(path, "config.json"),
        "config.json has changed since it was written",
    ),
    "empty": (empty, "an empty folder"),
    "file gone": (lambda path: (path / "training.json").unlink(), "training.json is missing"),
    "no manifest": (lambda path: (path / "viva.json").unlink(), "no viva.json"),
    "manifest cut": (lambda path: (path / "viva.json").write_text('{"files"'), "viva.json is damaged"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_newest_valid_checkpoint_is_taken_and_the_broken_one_named(trained, damage):
    harm, reason = DAMAGE[damage]
    harm(checkpoint.place(trained, 6))
    path, passed = checkpoint.newest(trained)
    assert path == checkpoint.place(trained, 3)
    assert len(passed) == 1 and passed[0].startswith(f"step-00000006: {reason}")


def test_a_resumed_run_says_what_it_passed_over_and_repairs_it(tmp_path, trained, capsys):
    before = (checkpoint.place(trained, 6) / "model.safetensors").read_bytes()
    truncate(checkpoint.place(trained, 6))
    run(recipe(tmp_path, {"train.save_every": 3}))
    said = capsys.readouterr().err
    assert "passed over step-00000006: model.safetensors has changed since it was written" in said
    assert "going on from" in said and "step 3" in said
    assert (checkpoint.place(trained, 6) / "model.safetensors").read_bytes() == before


def test_nothing_valid_is_refused(tmp_path, trained):
    truncate(checkpoint.place(trained, 3))
    empty(checkpoint.place(trained, 6))
    with pytest.raises(
        Refusal, match="must hold a valid checkpoint, but found step-00000006: an empty folder; step-00000003: model"
    ):
        run(recipe(tmp_path, {"train.save_every": 3}))


def test_leftovers_of_a_kill_are_not_checkpoints_and_are_deleted(tmp_path, trained):
    leftover = checkpoint.place(trained, 9).with_name(".step-00000009.123.tmp")
    leftover.mkdir()
    assert checkpoint.newest(trained)[0] == checkpoint.place(trained, 6)
    run(recipe(tmp_path, {"train.save_every": 3}))
    assert not leftover.exists()


def test_a_full_disk_is_refused_and_leaves_what_was_there(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    save_file = checkpoint.save_file
    calls = []
    monkeypatch.setattr(
        checkpoint, "save_file", lambda *given: calls.append(1) or (full if len(calls) > 1 else save_file)(*given)
    )
    with pytest.raises(Refusal, match=r"the disk must have room to write .*step-00000006, but found \d+ MiB free"):
        run(recipe(tmp_path, {"train.save_every": 3}))
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000003"]
    assert checkpoint.newest(tmp_path / "run") == (checkpoint.place(tmp_path / "run", 3), [])


def test_a_write_that_fails_midway_leaves_the_last_checkpoint(tmp_path, trained):
    """The system refuses to write a file beyond 8 KiB: config.json is written, the weights are not."""
    shutil.rmtree(checkpoint.place(trained, 6))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(Exception, match="File too large"):
            run(recipe(tmp_path, {"train.save_every": 3}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in (trained / "checkpoints").iterdir()] == ["step-00000003"]
    assert checkpoint.newest(trained) == (checkpoint.place(trained, 3), [])


def test_an_optimizer_that_groups_otherwise_is_refused(tmp_path, trained):
    work, _ = job(tmp_path, {"train.optim": "muon"}, "other")
    with pytest.raises(Refusal, match=r"groups of .*step-00000006 must be those of the run, but found \[\["):
        checkpoint.restore(checkpoint.place(trained, 6), work)


def test_a_disk_that_is_really_full(tmp_path):
    """A file system of 150 KiB: the tokenizer, the text and the log fit, the weights do not."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150k", "tmpfs", small], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small file system: {mounted.stderr.decode().strip()}")
    try:
        with pytest.raises(Refusal, match=r"the disk must have room to write .*, but found 0 MiB free"):
            run(recipe(tmp_path, {"train.save_every": 3}, "small/run"))
        assert not list((small / "run").glob("checkpoints/step-*"))
    finally:
        subprocess.run(["umount", small], check=True)
