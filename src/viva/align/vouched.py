"""The report that lies beside a reward model: whether there is one, of these very weights, and what it warns of."""

from pathlib import Path

from viva.base.errors import Refusal
from viva.base.files import read_json, sha256
from viva.model.folder import ADAPTER

FILE = "reward_report.json"
ASK = "viva reward report"
WEIGHTS = ("model*.safetensors", ADAPTER)


def weights(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of weights in a model's folder."""
    return {file.name: sha256(file) for kind in WEIGHTS for file in sorted(folder.glob(kind))}


def remarks(folder: Path) -> list[str]:
    """What is to be said before the model in `folder` is used as a reward, in sentences."""
    if not (folder / FILE).is_file():
        return [f"the reward model {folder} has no report: `{ASK} {folder} --data PAIRS` says what it is worth"]
    try:
        found = read_json(folder / FILE)
        of, warned = found["weights"], found["flags"]
    except (Refusal, KeyError) as error:
        fix = f"make it again with `{ASK}`"
        raise Refusal(f"{folder / FILE} must be a report of a reward model", error, fix) from None
    if of != weights(folder):
        return [f"the report beside the reward model {folder} is of other weights: make it again with `{ASK}`"]
    return [f"the reward model {folder}: {flag}" for flag in warned]
