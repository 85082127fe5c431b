"""What alignment on Python tasks gained: held-out exact match of a model before and after, task by task.

    python benchmarks/exact_match_gain.py runs/quickstart runs/grpo-tasks [--each 50]

The same held-out tasks, as many of each family, are asked of both by the most likely reply. The p-value is that of an
exact sign test (McNemar) over the tasks on which they differ: how likely a difference this large, or larger, in either
direction would be if both were as good.
"""

import argparse

import viva
from viva.evaluate.exact_match import Score, as_chat, exact_match
from viva.evaluate.paired import Paired
from viva.quickstart import held_out_tasks
from viva.text.rows.tasks import Task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before")
    parser.add_argument("after", nargs="+")
    parser.add_argument("--each", type=int, default=50, help="tasks of each family")
    given = parser.parse_args()
    tasks = held_out_tasks(given.each)
    first = score(given.before, tasks)
    print(f"{given.before}: {told(first)} of {len(tasks)} held-out tasks")
    for name in given.after:
        found = score(name, tasks)
        change = Paired.of(first.right, found.right)
        print(f"{name}: {told(found)}, {change.gained} gained, {change.lost} lost, p = {change.p:.2g}")


def score(name: str, tasks: list[Task]) -> Score:
    """Which of the tasks a model answers right."""
    model = viva.load(name)
    return exact_match(model.model, model.tokenizer, tasks, as_chat)


def told(found: Score) -> str:
    """The share and its interval."""
    return f"{found.share:.1%} ({{:.1%}} to {{:.1%}})".format(*found.interval)


if __name__ == "__main__":
    main()
