"""kill -9 and SIGTERM: nothing half is ever taken for whole. (A hundred instants: benchmarks/kill_during_save.py.)"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from train.runs import recipe
from viva.train import checkpoint
from viva.train.run import run

from .killing import kill_during_save, start, whole

TRAIN = """
import sys; from pathlib import Path
sys.path.insert(0, sys.argv[1])
from train.runs import recipe
from viva.train.run import run
run(recipe(Path(sys.argv[2]), {"train.steps": int(sys.argv[3]), "train.save_every": 1}, "other"))
"""


ASKED_WHILE_PREPARING = """
import os
from viva.train import start
make = start.parts
def parts(*given):
    os.kill(os.getpid(), 15)
    return make(*given)
start.parts = parts
"""


def train(folder, steps, first=""):
    """A process that trains in `folder`/other, after it has done what `first` says."""
    command = [
        sys.executable,
        "-c",
        TRAIN.replace("run(recipe", first + "run(recipe"),
        str(Path(__file__).parents[1]),
        str(folder),
        str(steps),
    ]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def assert_equal_runs(folder, steps):
    """The interrupted run ended with the weights of one that nobody disturbed."""
    straight = run(recipe(folder, {"train.steps": steps, "train.save_every": 1}))
    left, right = (
        load_file(path / "model.safetensors") for path in (straight.checkpoint, checkpoint.best(folder / "other"))
    )
    assert left.keys() == right.keys() and all(left[name].equal(right[name]) for name in left)


def test_kill_during_save(tmp_path):
    """One process at a time in one folder, killed again and again: every newest checkpoint is of one step."""
    for seed in range(2):
        step, leftovers = kill_during_save(tmp_path, seed)
        assert step is None or step >= 1
        assert leftovers <= 2 * (seed + 1)
    checkpoint.clean(tmp_path / "run")
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))


def test_the_check_sees_a_checkpoint_that_mixes_steps(tmp_path):
    process = start(tmp_path)
    while len(list(tmp_path.glob("run/checkpoints/step-*"))) < 2:
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    path, _ = checkpoint.newest(tmp_path / "run")
    path.rename(path.with_name("step-00099999"))
    with pytest.raises(AssertionError, match="mixes steps"):
        whole(path.with_name("step-00099999"))


def test_sigterm_saves_and_exits_0_and_the_same_command_goes_on(tmp_path):
    stopped = train(tmp_path, 20)
    for line in stopped.stderr:
        if "step 1/20" in line:
            break
    stopped.terminate()
    said = stopped.stderr.read()
    assert stopped.wait() == 0
    assert "stopped as asked after step" in said and "the same command goes on from there" in said
    resumed = train(tmp_path, 20)
    assert "going on from" in resumed.stderr.read() and resumed.wait() == 0
    assert_equal_runs(tmp_path, 20)


def test_kill_during_training_loses_at_most_the_steps_since_the_last_save(tmp_path, capsys):
    killed = train(tmp_path, 30)
    while len(list(tmp_path.glob("other/checkpoints/step-*"))) < 2:
        assert killed.poll() is None, killed.stderr.read()
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    last = max(int(path.name[-8:]) for path in tmp_path.glob("other/checkpoints/step-*"))
    run(recipe(tmp_path, {"train.steps": 30, "train.save_every": 1}, "other"))
    said = capsys.readouterr().err
    assert f"going on from {tmp_path / 'other' / 'checkpoints'}" in said
    assert int(re.search(r"step-0*\d+, step (\d+)", said)[1]) >= last
    assert_equal_runs(tmp_path, 30)


def test_sigterm_before_the_first_step_saves_and_exits_0(tmp_path):
    """While the data is prepared, too: the weights as they began are saved, and the same command goes on from them."""
    stopped = train(tmp_path, 4, ASKED_WHILE_PREPARING)
    said = stopped.stderr.read()
    assert stopped.wait() == 0 and "stopped as asked after step 0" in said
    assert [path.name for path in tmp_path.glob("other/checkpoints/*")] == ["step-00000000"]
    run(recipe(tmp_path, {"train.steps": 4, "train.save_every": 1}, "other"))
    assert_equal_runs(tmp_path, 4)
