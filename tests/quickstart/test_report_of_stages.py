"""The table of stages, from scores that were made by hand."""

from types import SimpleNamespace

from scipy.stats import binomtest

from viva.evaluate.exact_match import Score
from viva.quickstart.report import Findings, stages


def score(right: list[bool]) -> Score:
    return Score(("add",) * len(right), tuple(right))


def test_each_stage_stands_beside_the_one_before():
    """Of 20: 5 right; 15, of which 10 are new; 14, of which 1 is new and 2 were lost."""
    scores = {
        "pretraining": score([True] * 5 + [False] * 15),
        "tuning": score([True] * 15 + [False] * 5),
        "preferences": score([True] * 13 + [False] * 2 + [True] + [False] * 4),
    }
    runs = {name: SimpleNamespace(folder=f"runs/{name}") for name in scores}
    first, second, third = ([cell.strip() for cell in line.split("|")[1:-1]] for line in stages(scores, runs)[2:])
    low, high = binomtest(5, 20).proportion_ci(method="wilson")
    assert first[2:7] == ["25.0%", f"{low:.1%} to {high:.1%}", "", "", ""]
    assert second[2] == "75.0%" and second[4:7] == ["10", "0", f"{binomtest(10, 10).pvalue:.2g}"]
    assert third[2] == "70.0%" and third[4:] == ["1", "2", "1", "runs/preferences"]


def test_the_best_stage_is_named_and_which_one_the_folder_opens():
    """Of 3 tasks 1, 3 and 2 are right; of 3, 3 and 3 the last stage is the best."""

    def talk(*right):
        names = ("tuning", "preferences", "reward")
        scores = {name: score([True] * n + [False] * (3 - n)) for name, n in zip(names, right, strict=True)}
        runs = {name: SimpleNamespace(folder=f"runs/{name}") for name in names}
        return Findings(runs, scores, 0, 0, {}, [], [], "", {}).talk

    assert talk(1, 3, 2) == (
        "Talk to the best model, that after preferences: viva chat runs/preferences\n"
        "(viva chat runs/reward opens that after reward.)"
    )
    assert talk(3, 3, 3) == "Talk to the best model, that after reward: viva chat runs/reward"
