"""kill -9 in a run of PPO: policy, critic, replies and the price of divergence go on as if nobody had disturbed it."""

import signal

from train.playing import changes, policy_recipe
from train.runs import weights
from viva.train import metrics
from viva.train.run import run

from .test_kill_preferences import train

FILES = ("model.safetensors", "objective.safetensors", "optimizer.safetensors")


def test_a_killed_run_of_ppo_goes_on_bit_for_bit(tmp_path, capsys):
    begin = run(policy_recipe(tmp_path, {"kind": "grpo"}, "begin", **{"train.steps": 1})).checkpoint
    objective = {"kind": "ppo", "epochs": 2, "adaptive": {"target": 0.01}, "whiten_rewards": True}
    more = {"model": None, "tokenizer": None, "init": str(begin), "train.steps": 12, "train.save_every": 1}
    killed = train(tmp_path, changes(tmp_path, objective, **more))
    while len(list(tmp_path.glob("killed/checkpoints/step-*"))) < 2:
        assert killed.poll() is None, killed.stderr.read()
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    run(policy_recipe(tmp_path, objective, "killed", **more))
    assert "going on from" in capsys.readouterr().err
    straight = run(policy_recipe(tmp_path, objective, "straight", **more)).folder
    for file in FILES:
        left, right = weights(straight, 12, file), weights(tmp_path / "killed", 12, file)
        assert left.keys() == right.keys() and all(left[name].equal(right[name]) for name in left)
    said = [
        [(r["reward"], r["kl"], r["length"]) for r in metrics.read(each)] for each in (straight, tmp_path / "killed")
    ]
    assert said[0] == said[1] and len(said[0]) == 12
