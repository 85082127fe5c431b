"""kill -9 in a run that compares with a reference: it goes on to the weights of a run that nobody disturbed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from safetensors.torch import load_file

from train.preferring import base
from train.runs import recipe
from viva.train import checkpoint
from viva.train.run import run

TRAIN = """
import json, sys; from pathlib import Path
sys.path.insert(0, sys.argv[1])
from train.runs import recipe
from viva.train.run import run
run(recipe(Path(sys.argv[2]), json.loads(sys.argv[3]), "killed"))
"""


def train(folder, changes):
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", TRAIN, tests, str(folder), json.dumps(changes)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_a_killed_run_of_dpo_goes_on_bit_for_bit(tmp_path, capsys):
    changes = base(tmp_path) | {"train.steps": 16, "train.save_every": 1}
    killed = train(tmp_path, changes)
    while len(list(tmp_path.glob("killed/checkpoints/step-*"))) < 2:
        assert killed.poll() is None, killed.stderr.read()
        time.sleep(0.02)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    run(recipe(tmp_path, changes, "killed"))
    assert "going on from" in capsys.readouterr().err
    straight = run(recipe(tmp_path, changes, "straight"))
    left, right = (
        load_file(path / "model.safetensors") for path in (straight.checkpoint, checkpoint.best(tmp_path / "killed"))
    )
    assert left.keys() == right.keys() and all(left[name].equal(right[name]) for name in left)
