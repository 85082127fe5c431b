"""BLEU of a trained translation model on a test set, whole and by the length of the source.

python benchmarks/translation.py runs/translate DIR/test_2016_flickr.de.gz DIR/test_2016_flickr.en.gz
"""

import argparse
import time
from pathlib import Path

import viva
from viva.evaluate.bleu import bleu, by_length
from viva.text.rows.corpus import parallel

BORDERS = (8, 11, 14, 17)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--beams", type=int, default=4)
    parser.add_argument("--length-penalty", type=float, default=0.6)
    parser.add_argument("--tokenize", default="13a", help="sacrebleu's tokens, such as zh for Chinese references")
    parser.add_argument("--shown", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the translations here, a line each")
    given = parser.parse_args()
    rows = [row.data for row in parallel.Config(source=given.source, target=given.target).rows()]
    sources, targets = [row["source"] for row in rows], [row["target"] for row in rows]
    model = viva.load(given.model)
    start = time.perf_counter()
    search = {"beams": given.beams, "max_new_tokens": 100}
    search |= {"length_penalty": given.length_penalty} if given.beams > 1 else {"temperature": 0}
    said = model.translate(sources, **search)
    seconds = time.perf_counter() - start
    for source, translation, target in list(zip(sources, said, targets, strict=True))[: given.shown]:
        print(f"{source}\n  {translation}\n  ({target})")
    whole = bleu(said, targets, tokenize=given.tokenize)
    print(f"{len(rows)} sentences in {seconds:.1f} s, {given.beams} beams, length penalty {given.length_penalty}")
    print(f"BLEU {whole.score:.2f} +- {whole.within:.2f}  {whole.signature}")
    for words, (count, score) in by_length(sources, said, targets, BORDERS, given.tokenize).items():
        print(f"  {words:>6} words: {score:6.2f}  ({count} sentences)")
    if given.out:
        given.out.write_text("".join(line.replace("\n", " ") + "\n" for line in said), encoding="utf-8")


if __name__ == "__main__":
    main()
