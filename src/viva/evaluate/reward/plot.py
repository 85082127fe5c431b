"""The report as a picture: how sure the model is and how often it is right, and rewards beside lengths."""

from pathlib import Path

import numpy as np

from viva.base.files import whole_file
from viva.evaluate.reward.report import Report
from viva.evaluate.reward.scored import Scored


def draw(report: Report, scored: Scored, file: Path) -> None:
    """Write the picture as PNG."""
    from matplotlib.figure import Figure  # takes a while to import

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    bins = report.calibration.bins
    left.plot([0.5, 1], [0.5, 1], color="grey", linewidth=1, label="as sure as right")
    left.plot([found.confidence for found in bins], [found.accuracy for found in bins], "o-", label="the model")
    left.set(xlabel="confidence", ylabel="share of pairs told right", title="Calibration", ylim=(0, 1))
    left.legend()
    good = scored.margins > 0
    for kept, name in ((good, "told right"), (~good, "told wrong")):
        right.scatter(scored.pairs.longer[kept], scored.margins[kept], s=8, alpha=0.5, label=name)
    right.axhline(0, color="grey", linewidth=1)
    right.axvline(0, color="grey", linewidth=1)
    right.set_xscale("symlog", linthresh=10)
    most = float(np.abs(scored.margins).max())
    right.set(xlabel="tokens that the chosen answer is longer", ylabel="reward that it is worth more", title="Length")
    right.set_ylim(-1.05 * most, 1.05 * most)
    right.legend()
    with whole_file(file) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
