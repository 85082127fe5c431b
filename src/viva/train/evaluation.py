"""The loss on held-out data, every document once."""

import math
from collections import Counter

import torch

from viva.base.errors import Refusal
from viva.train.data import Data
from viva.train.experience import Experience
from viva.train.job import Job


@torch.no_grad()
def evaluate(job: Job) -> dict[str, float]:
    """Held-out loss in nats a token and, where it can be told exactly, in bits a byte of text; of an experience, what
    its held-out replies are worth.
    """
    if isinstance(job.valid, Experience):
        return {f"valid_{name}": value for name, value in job.valid.held_out().items()}
    job.model.eval()
    sums: Counter[str] = Counter()
    count = 0
    for batch in job.valid.once():
        with job.precision.autocast():
            loss = job.objective(job.model, batch.to(job.precision.device))
        sums.update({"loss": loss.sum.item(), **loss.metrics})
        count += loss.count
    job.model.train()
    if not count:
        fix = "check the format with --dry-run, or hold out a larger share with `valid`"
        raise Refusal("the held-out documents must have tokens to predict", "a loss mask that hides them all", fix)
    size = learned_bytes(job.valid)
    bits = {"bits_per_byte": sums["loss"] / math.log(2) / size} if size else {}
    return {f"valid_{name}": value for name, value in {**{k: v / count for k, v in sums.items()}, **bits}.items()}


def learned_bytes(data: Data) -> int | None:
    """The UTF-8 bytes of the text that `data.once()` predicts.

    None where that is not the size of the documents: some are left out, or begin with text, which nothing predicts, or
    not all of their text is predicted.
    """
    if not data.reading.every:
        return None
    begin = data.documents.fingerprint.roles["bos"]
    firsts = ((ids[0], mask[0]) for ids, mask in (data.documents[i] for i in range(len(data.documents))))
    if data.report.dropped or any(learned and token != begin for token, learned in firsts):
        return None
    return int(data.documents.bytes.sum())
