"""Pairs for DPO, from replies that were made by hand."""

import json

from viva.quickstart.pairs import pairs, tasks_to_ask, write
from viva.text.rows.expression import verify
from viva.text.rows.tasks import Task, is_held_out

TASKS = [Task("add", f"{n} + {n}", f"Compute `{n} + {n}`.", str(2 * n)) for n in range(4)]


def test_a_pair_is_the_right_reply_and_the_first_wrong_one():
    """The first task is always right and the second never: neither tells a right reply from a wrong one."""
    said = [["0", "0", "0"], ["3", "4", "5"], ["4", "44", "5"], ["66", "6", "6"]]
    assert pairs(TASKS, said) == [
        {"prompt": "Compute `2 + 2`.", "chosen": "4", "rejected": "44"},
        {"prompt": "Compute `3 + 3`.", "chosen": "6", "rejected": "66"},
    ]


def test_a_model_that_is_never_right_learns_from_the_interpreter():
    said = [["0", "0"], ["3", "4"], ["5", "5"], ["7", "8"]]
    assert [(row["chosen"], row["rejected"]) for row in pairs(TASKS, said)] == [("2", "3"), ("4", "5"), ("6", "7")]


def test_a_row_a_line(tmp_path):
    rows = [{"prompt": "`1` 的值是多少?", "chosen": "1", "rejected": "\n"}] * 2
    write(tmp_path / "there" / "rows.jsonl", rows)
    lines = (tmp_path / "there" / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == rows and "的" in lines[0]


def test_no_held_out_operand_is_asked():
    asked = tasks_to_ask(60, seed=2)
    assert not any(is_held_out(task.expression) for task in asked)
    assert all(verify(task.expression, task.answer) for task in asked) and len({t.family for t in asked}) == 15
