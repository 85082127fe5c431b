"""kill -9 at a hundred random instants of saving: after each, the newest valid checkpoint is whole, or there is none.

python benchmarks/kill_during_save.py [--kills 100]
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from faults.killing import kill_during_save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    kills = parser.parse_args().kills
    seen: Counter[str] = Counter()
    for seed in range(kills):
        with tempfile.TemporaryDirectory() as folder:
            step, leftovers = kill_during_save(Path(folder), seed)
        seen["without any checkpoint yet" if step is None else "with a whole newest checkpoint"] += 1
        seen["that caught a save half done"] += leftovers > 0
        print(f"kill {seed + 1}: newest checkpoint {step}, leftovers {leftovers}", flush=True)
    print(f"{kills} kills, none left a checkpoint that mixes steps or a broken one that is newest:")
    for what, count in seen.items():
        print(f"  {count:4d} {what}")


if __name__ == "__main__":
    main()
