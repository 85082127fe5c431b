"""`viva back-translate`: rows with their text said in other words, by way of another language."""

from pathlib import Path
from typing import Any


def back_translate(
    data: str,
    *,
    there: str,
    back: str,
    out: Path,
    field: str = "text",
    columns: str | None = None,
    beams: int = 4,
    batch: int = 64,
) -> None:
    """Write the rows of a file with copies whose text was translated and translated back (Sennrich et al. 2016, Edunov
    et al. 2018); all else, such as a label, is kept. A copy that is equal to its row or empty is left out and counted.

    Give it the rows that are trained on alone: a copy of a held-out row would be a leak.

    Example: viva back-translate train.jsonl --there runs/en-de --back runs/de-en --out augmented.jsonl

    Parameters
    ----------
    data
        a JSON lines, csv or tsv file
    there
        a model that translates into the other language
    back
        a model that translates from it
    out
        the file of JSON lines to write: each row, and behind it its copy
    field
        the field with the text
    columns
        names of the columns of a table, set apart by commas, where its first line is a row
    beams
        of both searches; 1 draws
    batch
        rows that are translated at a time
    """
    import json

    from viva.api import load
    from viva.base.files import whole_file
    from viva.infer.back_translation import back_translated
    from viva.text.rows.fields import text

    models, rows = (load(there), load(back)), list(_rows(data, columns))
    counts = {"rows": len(rows), "copies": 0, "equal": 0, "empty": 0}
    with whole_file(out) as new, open(new, "w", encoding="utf-8") as file:
        for at in range(0, len(rows), batch):
            some = rows[at : at + batch]
            texts = [text(row, field) for row in some]
            for row, old, made in zip(some, texts, back_translated(*models, texts, beams=beams), strict=True):
                what = "empty" if not made.strip() else "equal" if made == old else "copies"
                counts[what] += 1
                copy = [{**row.data, field: made}] * (what == "copies")
                file.writelines(json.dumps(each, ensure_ascii=False) + "\n" for each in (row.data, *copy))
    left = f"{counts['equal']:,} were equal to their row and {counts['empty']:,} empty, and are left out"
    print(f"{out}: {counts['rows']:,} rows and {counts['copies']:,} copies; {left}")


def _rows(data: str, columns: str | None) -> Any:
    """The rows of a file."""
    from viva.text.rows.corpus import files, table

    is_table = data.removesuffix(".gz").endswith((".csv", ".tsv"))
    if is_table:
        return table.Config(path=data, columns=tuple(columns.split(",")) if columns else None).rows()
    return files.Config(path=data).rows()
