"""What the main job found, as Markdown."""

from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from viva.base.markdown import table
from viva.evaluate.exact_match import Score
from viva.evaluate.paired import Paired
from viva.text.rows.tasks import Task
from viva.train import metrics
from viva.train.run import Run

METHODS = {
    "pretraining": "next-token prediction",
    "tuning": "supervised tuning",
    "preferences": "DPO: the right answer rather than the model's own wrong one",
    "reward": "GRPO: the interpreter judges what the model tries",
}


@dataclass(frozen=True)
class Findings:
    """Numbers and texts as they came. `runs` and `scores`: of each stage, in order; `samples`: a task of each family
    and what the last model replied."""

    runs: dict[str, Run]
    scores: dict[str, Score]
    documents: int
    bytes: int
    compressors: dict[str, float]
    samples: list[tuple[Task, str]]
    dialogues: list[tuple[str, str]]
    continuation: str
    seconds: dict[str, float]

    @property
    def bits(self) -> float:
        """Of the base model, a byte of held-out text."""
        return self.runs["pretraining"].metrics["valid_bits_per_byte"]

    @property
    def best(self) -> str:
        """The stage with the highest score; of equal ones the later."""
        return max(reversed(self.scores), key=lambda name: self.scores[name].share)

    @property
    def talk(self) -> str:
        """How to talk to the best model, and which one the folder of the whole job opens."""
        said = f"Talk to the best model, that after {self.best}: viva chat {self.runs[self.best].folder}"
        last = [*self.runs][-1]
        return said if self.best == last else f"{said}\n(viva chat {self.runs[last].folder} opens that after {last}.)"

    @property
    def summary(self) -> str:
        """The result in two sentences."""
        beside = ", ".join(f"{name} {bits:.3f}" for name, bits in self.compressors.items())
        stages = ", ".join(f"{score.share:.1%} after {name}" for name, score in self.scores.items())
        return f"Held-out Python: {self.bits:.3f} bits a byte ({beside}).\nHeld-out tasks, exact match: {stages}."


def rendered(found: Findings) -> str:
    """The report."""
    return "\n".join(
        [
            "# What `viva quickstart` made\n",
            found.summary,
            "\n## Bits a byte of held-out text\n",
            f"{found.documents} documents ({found.bytes:,} bytes) of the Python installation, none of them trained on;",
            "each is compressed, or predicted, on its own.\n",
            *_bits(found),
            "\n![loss of pretraining](base/loss.png)",
            "\n## Exact match on held-out Python tasks\n",
            "The operands of these tasks were never seen in training. The base model is asked at an interpreter's",
            "prompt (`>>> expression`), the others in conversation; only the interpreter's very reply counts.\n",
            *stages(found.scores, found.runs),
            "\nThe interval is Wilson's, of 95 %. Gained are tasks that were wrong after the stage before and are",
            "right now, lost the other way round; p is how likely such a difference is by chance (McNemar's exact",
            "test).",
            f"{found.talk}\n",
            *_matches(found),
            "\n![loss of tuning](tuned/loss.png)",
            "\n## Time\n",
            *_times(found),
            "\n## What the last model says\n",
            "A task of each family, not chosen:\n",
            *table(
                "question", "reply", "Python", rows=[(t.question, f"`{r}`", f"`{t.answer}`") for t, r in found.samples]
            ),
            "\nConversation, at temperature 0:\n",
            *(f"> **{asked}**\n>\n> {_quoted(reply)}\n" for asked, reply in found.dialogues),
            "\n## How the base model goes on from `def `\n",
            f"```python\ndef {found.continuation}\n```\n",
        ]
    )


def _bits(found: Findings) -> list[str]:
    rows = {"the model": found.bits, **found.compressors}.items()
    return table("compressor", "bits a byte", rows=[(name, f"{bits:.3f}") for name, bits in rows])


def stages(scores: dict[str, Score], runs: dict[str, Run]) -> list[str]:
    """A table with a row for each stage, which is compared with the one before."""
    changes = [("", "", "")]
    for before, after in pairwise(scores.values()):
        change = Paired.of(before.right, after.right)
        changes.append((str(change.gained), str(change.lost), f"{change.p:.2g}"))
    rows = []
    for (name, score), change in zip(scores.items(), changes, strict=True):
        interval = "{:.1%} to {:.1%}".format(*score.interval)
        rows.append((name, METHODS[name], f"{score.share:.1%}", interval, *change, str(runs[name].folder)))
    return table("stage", "by", "exact match", "interval", "gained", "lost", "p", "folder", rows=rows)


def _matches(found: Findings) -> list[str]:
    """A row for each family of tasks, a column for each stage."""
    scores = list(found.scores.values())
    asked = scores[0].asked
    rows = [(name, *(f"{score.of(name):.0%}" for score in scores), str(count)) for name, count in asked.items()]
    total = ("**all**", *(f"{score.share:.1%}" for score in scores), str(asked.total()))
    return table("family", *found.scores, "asked", rows=[*rows, total])


def _times(found: Findings) -> list[str]:
    rows = [(part, f"{seconds:.0f} s") for part, seconds in found.seconds.items()]
    for name, run in found.runs.items():
        records = metrics.read(run.folder)
        speeds, tokens = [record["tokens_per_s"] for record in records], sum(record["tokens"] for record in records)
        rows.append((f"{name}, {len(speeds)} steps, {tokens:,} tokens", f"{median(speeds):,.0f} tokens/s"))
    return table("part", "", rows=rows)


def _quoted(text: str) -> str:
    return text.replace("\n", "\n> ")
