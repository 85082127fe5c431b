"""What a table is by its name: what stands between its fields."""

from pathlib import Path

SEPARATORS = {".csv": ",", ".tsv": "\t"}


def separator(file: Path) -> str | None:
    """What stands between the fields of a file, by its ending; None where it is no table."""
    name = file.name.lower().removesuffix(".gz")
    return next((sign for end, sign in SEPARATORS.items() if name.endswith(end)), None)
