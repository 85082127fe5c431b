"""torch.compile changes how fast a run is, not what it learns. Slow: it compiles."""

import pytest

from viva.train import metrics
from viva.train.run import run

from .runs import recipe


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_run_learns_the_same(tmp_path, precision):
    losses = []
    for compiled in (False, True):
        changes = {"train.precision": precision, "train.compile": compiled}
        done = run(recipe(tmp_path, changes, f"compiled-{compiled}"))
        losses.append([record["loss"] for record in metrics.read(done.folder)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4 if precision == "fp32" else 1e-2)
