"""What filters of rows take out of a real data set, at what speed and for how much memory.

    python benchmarks/filters.py --data FILE [--against FILE ...]

For each filter, by itself and in a process of its own: rows left out, MB a second, and by how many bytes a row the
process grew.
"""

import argparse
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from viva.text.rows.corpus import files
from viva.text.rows.filter import contamination, duplicates, language, length, near_duplicates, script
from viva.text.rows.format import text
from viva.text.rows.sift import Filter, Source, sift


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--against", nargs="*", default=[])
    given = parser.parse_args()
    print("| filter | rows | left out | MB/s | bytes a row | such as |\n|---|---:|---:|---:|---:|---|")
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        for name, form in filters(given.against).items():
            print(f"| {name} | {processes.submit(report, given.data, form).result()} |", flush=True)


def filters(against: list[str]) -> dict[str, Filter]:
    """Those that are measured, by name."""
    found: dict[str, Filter] = {
        "duplicates": duplicates.Config(),
        "near_duplicates, 0.8": near_duplicates.Config(threshold=0.8),
        "near_duplicates, 0.8, words": near_duplicates.Config(threshold=0.8, unit="words", size=5),
        "length, 20 to 2,000 characters": length.Config(min=20, max=2000),
        "language, en": language.Config(languages=("en",)),
        "script, latin": script.Config(scripts=("latin",), share=0.9),
    }
    for path in against:
        found[f"contamination, {Path(path).name}"] = contamination.Config(against=(path,), then="drop")
    return found


def report(path: str, form: Filter) -> str:
    corpus = files.Config(path=path)
    size = sum(len(str(row.data).encode()) for row in corpus.rows())
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        [kept] = sift([Source(corpus, text.Config())], [form], Path(folder))
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    shown = kept.taken[0].shown[0].rpartition("(")[2].rstrip(")")[:60] if kept.gone else ""
    growth = (after - before) * 1024 / kept.read
    return f"{kept.read:,} | {kept.dropped:,} | {size / seconds / 1e6:.1f} | {growth:,.0f} | {shown}"


if __name__ == "__main__":
    main()
