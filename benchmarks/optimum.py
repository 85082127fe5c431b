"""Every way to align beside the policy that it is known to come to, on two toys whose replies are all counted.

    OMP_NUM_THREADS=1 python benchmarks/optimum.py [--toys bandit spelling] [--methods dpo ppo ...] [--seeds 40 41 42]

What a policy reaches, its divergence from the reference and from where it should be are exact (tests/learns/toy.py,
known.py, methods.py). Prints a table for each toy and draws reward against divergence, of the first seed's runs, to
docs/alignment_optimum.png or the `--plot` that is given. Settings were found with other seeds than these.
"""

import argparse
import contextlib
import io
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from learns.known import best
from learns.methods import METHODS, Method
from learns.toy import Toy, bandit, divergence, spelling
from viva.base.errors import Notice

TOYS = {"bandit": bandit, "spelling": spelling}
PLOT = Path(__file__).parent.parent / "docs" / "alignment_optimum.png"
CELLS = ("method", "replies", "of its optimum", "of p*", "reward", "its optimum's", "divergence", "its optimum's")
HEAD = f"| {' | '.join(CELLS)} | elsewhere | seconds |"
LOOKS = 6  # at the first seed's policy, on the way


def about(name: str, toy: Toy) -> str:
    """What the toy is, and how far p* is from the start."""
    with quiet():
        start, aim = toy.reference, best(toy)
    return (
        f"{name}: {len(toy.replies):,} replies, {len(toy.answers)} of them answers; of what the model says at first "
        f"{toy.elsewhere(start):.5f} is none, the entropy is {toy.entropy(start):.3f} nats, and two replies are equal "
        f"with the probability {start.exp().square().sum().item():.3f}. The reward is {toy.reward_of(start):.3f}, p*'s "
        f"{toy.reward_of(aim):.3f}, {divergence(aim, start):.3f} nats away"
    )


def row(toy: Toy, name: str, ends: Sequence[Tensor], seconds: float) -> str:
    """A row of the table: means over seeds, and the lowest and the highest share of the way to its optimum."""
    aim = METHODS[name].aim(toy)
    own = [METHODS[name].of_its_way(toy, end) for end in ends]
    mean = lambda measure: fmean(map(measure, ends))  # noqa: E731
    cells = [
        f"`{name}`",
        f"{METHODS[name].drawn:,}",
        f"{fmean(own):.3f} ({min(own):.3f} to {max(own):.3f})",
        f"{mean(lambda end: toy.of_the_way(end, best(toy))):.3f}",
        f"{mean(toy.reward_of):.3f}",
        f"{toy.reward_of(aim):.3f}",
        f"{mean(lambda end: divergence(end, toy.reference)):.3f}",
        f"{divergence(aim, toy.reference):.3f}",
        f"{mean(toy.elsewhere):.4f}",
        f"{seconds:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def draw(found: dict[str, tuple[Toy, dict[str, list[Tensor]]]], file: Path) -> None:
    """Each method's way, and a cross where it should end."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(found), figsize=(7 * len(found), 5), layout="constrained", squeeze=False)
    for axes, (name, (toy, ways)) in zip(panels[0], found.items(), strict=True):
        frontier = [(toy.reference + toy.rewards / beta).log_softmax(0) for beta in torch.logspace(-0.9, 2, 80)]
        axes.plot(*_points(toy, frontier), color="black", linewidth=1, label="best for its divergence")
        axes.plot(*_points(toy, [best(toy)]), "k*", markersize=14, label=f"p* at beta {toy.beta:g}")
        for number, (method, way) in enumerate(ways.items()):
            color = f"C{number}" if number < 10 else f"C{number - 10}"
            style = ".-" if number < 10 else ".--"
            axes.plot(*_points(toy, way), style, markersize=4, linewidth=1, color=color, label=method)
            axes.plot(*_points(toy, [METHODS[method].aim(toy)]), "x", markersize=9, color=color)
        axes.set(title=name, xlabel="divergence from the reference, nats a reply", ylabel="mean reward")
        axes.set_xlim(-0.05, 3 * divergence(best(toy), toy.reference))
    panels[0][-1].legend(fontsize=8, title="x: where it is known to come to", title_fontsize=8)
    figure.savefig(file, dpi=150)


def _points(toy: Toy, policies: Sequence[Tensor]) -> tuple[list[float], list[float]]:
    return [divergence(logs, toy.reference) for logs in policies], [toy.reward_of(logs) for logs in policies]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What runs say is kept to themselves."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def walk(toy: Toy, name: str, method: Method, seed: int, looks: int) -> list[Tensor]:
    """The policy at the start of a run and after each of so many shares of it."""
    with quiet():
        folder = f"{name}-{seed}".replace(" ", "-")
        return list(method.taught(toy, folder, seed, looks))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toys", nargs="+", choices=TOYS, default=list(TOYS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[40, 41, 42])
    parser.add_argument("--plot", type=Path, default=PLOT)
    asked = parser.parse_args()
    warnings.simplefilter("ignore", Notice)
    found = {}
    for name in asked.toys:
        with tempfile.TemporaryDirectory() as place:
            toy, ways = TOYS[name](Path(place)), {}
            print(f"\n{about(name, toy)}\n")
            print(HEAD + "\n" + "|---|" + "---|" * (HEAD.count("|") - 2))
            for method in asked.methods:
                begun = time.process_time()
                first, *others = asked.seeds
                walks = [walk(toy, method, METHODS[method], first, LOOKS)]
                walks += [walk(toy, method, METHODS[method], seed, 1) for seed in others]
                seconds = (time.process_time() - begun) / len(walks)
                print(row(toy, method, [each[-1] for each in walks], seconds), flush=True)
                ways[method] = walks[0]
            found[name] = toy, ways
            draw(found, asked.plot)


if __name__ == "__main__":
    main()
