"""The rows of the files that a command line names."""

from pathlib import Path

from viva.text.rows.row import Corpus


def corpus(path: str, columns: str | None = None, target: str | None = None) -> Corpus:
    """Tables, with the names of their columns, where nothing else is to be read in `path`; else all other files. With
    `target`, two files whose lines belong together.
    """
    from viva.base.errors import Refusal
    from viva.text.rows.corpus import files, parallel, table

    if target is not None:
        if columns is not None:
            raise Refusal("--target must be of two files of lines", "--columns too", "leave one of them out")
        return parallel.Config(source=path, target=target)
    if _is_of_tables(path):
        names = None if columns is None else tuple(name.strip() for name in columns.split(","))
        return table.Config(path=path, columns=names)
    if columns is not None:
        raise Refusal("--columns must be those of a .csv or .tsv file", repr(path), "leave it out, or name a table")
    return files.Config(path=path)


def _is_of_tables(path: str) -> bool:
    from viva.text.rows.corpus import files
    from viva.text.rows.corpus._places import candidates
    from viva.text.rows.corpus._separator import separator

    place = Path(path).expanduser()
    found = [place] if place.is_file() else candidates(path)  # an empty file is refused as it is read
    return any(map(separator, found)) and not any(map(files.ending, found))
