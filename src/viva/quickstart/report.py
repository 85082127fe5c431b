"""What the main job found, as Markdown."""

from dataclasses import dataclass
from statistics import median

from viva.base.markdown import table
from viva.evaluate.exact_match import Score
from viva.text.rows.tasks import Task
from viva.train import metrics
from viva.train.run import Run


@dataclass(frozen=True)
class Findings:
    """Numbers and texts as they came. `samples`: a task of each family and what the tuned model replied."""

    base: Run
    tuned: Run
    documents: int
    bytes: int
    compressors: dict[str, float]
    before: Score
    after: Score
    samples: list[tuple[Task, str]]
    dialogues: list[tuple[str, str]]
    continuation: str
    seconds: dict[str, float]

    @property
    def summary(self) -> str:
        """The result in two sentences."""
        beside = ", ".join(f"{name} {bits:.3f}" for name, bits in self.compressors.items())
        return (
            f"Held-out Python: {self.base.metrics['valid_bits_per_byte']:.3f} bits a byte ({beside}).\n"
            f"Held-out tasks: {self.after.share:.1%} exact match after tuning, {self.before.share:.1%} before."
        )


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
            "The operands of these tasks were never seen in tuning. The base model is asked at an interpreter's prompt",
            "(`>>> expression`), the tuned one in conversation; only the interpreter's very reply counts.\n",
            *_matches(found),
            "\n![loss of tuning](loss.png)",
            "\n## Time\n",
            *_times(found),
            "\n## What the tuned model says\n",
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
    model = {"the model": found.base.metrics["valid_bits_per_byte"]}
    return table("compressor", "bits a byte", rows=[(k, f"{v:.3f}") for k, v in {**model, **found.compressors}.items()])


def _matches(found: Findings) -> list[str]:
    rows = [
        (name, f"{found.before.of(name):.0%}", f"{found.after.of(name):.0%}", str(asked))
        for name, asked in found.after.asked.items()
    ]
    total = ("**all**", f"{found.before.share:.1%}", f"{found.after.share:.1%}", str(found.after.asked.total()))
    return table("family", "base", "tuned", "asked", rows=[*rows, total])


def _times(found: Findings) -> list[str]:
    rows = [(part, f"{seconds:.0f} s") for part, seconds in found.seconds.items()]
    for name, run in {"pretraining": found.base, "tuning": found.tuned}.items():
        speeds = [record["tokens_per_s"] for record in metrics.read(run.folder)]
        tokens = sum(record["tokens"] for record in metrics.read(run.folder))
        rows.append((f"{name}, {len(speeds)} steps, {tokens:,} tokens", f"{median(speeds):,.0f} tokens/s"))
    return table("part", "", rows=rows)


def _quoted(text: str) -> str:
    return text.replace("\n", "\n> ")
