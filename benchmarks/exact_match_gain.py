"""What alignment on Python tasks gained: held-out exact match of a model before and after, task by task.

    python benchmarks/exact_match_gain.py runs/quickstart runs/grpo-tasks [--each 50]

The same held-out tasks, as many of each family, are asked of both by the most likely reply. The p-value is that of an
exact sign test (McNemar) over the tasks on which they differ: how likely a difference this large, or larger, in either
direction would be if both were as good.
"""

import argparse
from math import comb

import viva
from viva.evaluate.exact_match import as_chat, replies
from viva.quickstart import held_out_tasks


def sign_test(better: int, worse: int) -> float:
    """The two-sided p-value of so many differences in one direction and in the other.

    >>> sign_test(9, 1)
    0.021484375
    """
    n = better + worse
    tail = sum(comb(n, k) for k in range(max(better, worse), n + 1)) / 2**n
    return min(1.0, 2 * tail)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before")
    parser.add_argument("after", nargs="+")
    parser.add_argument("--each", type=int, default=50, help="tasks of each family")
    given = parser.parse_args()
    tasks = held_out_tasks(given.each)
    first = right(given.before, tasks)
    print(f"{given.before}: {sum(first) / len(tasks):.1%} of {len(tasks)} held-out tasks")
    for name in given.after:
        found = right(name, tasks)
        better = sum(b and not a for a, b in zip(first, found, strict=True))
        worse = sum(a and not b for a, b in zip(first, found, strict=True))
        p = sign_test(better, worse)
        print(f"{name}: {sum(found) / len(tasks):.1%}, {better} gained, {worse} lost, p = {p:.2g}")


def right(name: str, tasks: list) -> list[bool]:
    """Whether each task is answered right."""
    model = viva.load(name)
    return [
        said == task.answer
        for task, said in zip(tasks, replies(model.model, model.tokenizer, tasks, as_chat), strict=True)
    ]


if __name__ == "__main__":
    main()
