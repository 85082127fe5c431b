"""Every way to align beside the best policy there is, on two toys where that is known (tests/learns/toy.py).

    python benchmarks/optimum.py [--toys bandit spelling] [--methods dpo ppo ...]

A toy's replies are all counted: what a policy reaches, its divergence from the reference and from the best policy are
exact. Prints a table for each toy and draws docs/alignment_optimum.png, reward against divergence on the way.
"""

import argparse
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from learns.toy import BETA, METHODS, Method, Toy, bandit, divergence, spelling

from viva.base.errors import Notice

TOYS = {"bandit": bandit, "spelling": spelling}
PLOT = Path(__file__).parent.parent / "docs" / "alignment_optimum.png"
HEAD = "| method | of the optimum | reward | divergence | of its frontier | from the known policy | seconds |"


@dataclass(frozen=True)
class Walk:
    """Where a method led: the policy at its start and after each few steps, as log-probabilities."""

    policies: list[Tensor]
    seconds: float


def walk(toy: Toy, name: str, method: Method) -> Walk:
    start = time.perf_counter()
    return Walk(list(toy.taught(name, method)), time.perf_counter() - start)


def line(toy: Toy, name: str, method: Method, path: Walk) -> str:
    """A row of the table."""
    last, known = path.policies[-1], method.known(toy)
    far = "" if known is None else f"{divergence(last, known):.4f}"
    figures = f"{toy.reward_of(last):.3f} | {divergence(last, toy.reference):.3f} | {toy.efficiency(last):.3f}"
    return f"| `{name}` | {toy.reached(last):.3f} | {figures} | {far} | {path.seconds:.0f} |"


def draw(found: dict[str, tuple[Toy, dict[str, Walk]]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(found), figsize=(6 * len(found), 4.5), layout="constrained", squeeze=False)
    for axes, (name, (toy, paths)) in zip(panels[0], found.items(), strict=True):
        best = [toy.best(beta) for beta in torch.logspace(-0.9, 2, 80).tolist()]
        axes.plot(*_points(toy, best), color="black", linewidth=1, label="best for its divergence")
        for number, (method, path) in enumerate(paths.items()):
            axes.plot(*_points(toy, path.policies), ".-", markersize=4, linewidth=1, color=f"C{number}", label=method)
        axes.plot(*_points(toy, [toy.best()]), "k*", markersize=12, label=f"best at beta {toy.beta:g}")
        axes.set(title=name, xlabel="divergence from the reference, nats a reply", ylabel="mean reward")
        axes.set_xlim(-0.05, 3 * divergence(toy.best(), toy.reference))
    panels[0][-1].legend(fontsize=8)
    figure.savefig(PLOT, dpi=150)


def _points(toy: Toy, policies: list[Tensor]) -> tuple[list[float], list[float]]:
    return [divergence(logs, toy.reference) for logs in policies], [toy.reward_of(logs) for logs in policies]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toys", nargs="+", choices=TOYS, default=list(TOYS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    asked = parser.parse_args()
    warnings.simplefilter("ignore", Notice)
    found = {}
    for name in asked.toys:
        with tempfile.TemporaryDirectory() as place:
            toy, paths = TOYS[name](Path(place)), {}
            best, start = toy.best(), toy.reference
            print(f"\n{name}: {len(toy.replies):,} replies, beta {BETA:g}; reward {toy.reward_of(start):.3f} at first;")
            print(f"the best policy's {toy.reward_of(best):.3f} at a divergence of {divergence(best, start):.3f}\n")
            print(HEAD + "\n" + "|---|" + "---|" * 6)
            for method in asked.methods:
                paths[method] = walk(toy, method, METHODS[method])
                print(line(toy, method, METHODS[method], paths[method]), flush=True)
            found[name] = toy, paths
    draw(found)


if __name__ == "__main__":
    main()
