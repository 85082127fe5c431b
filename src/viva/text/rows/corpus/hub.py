"""A data set of the Hugging Face hub, or any that the `datasets` library can build."""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from viva.base.errors import Refusal
from viva.text.rows.row import Corpus, Row


class Config(Corpus):
    """name, subset, split, revision, data_files: as `datasets.load_dataset` takes them.

    streaming: rows are read over the network as they are needed; nothing is stored beforehand. rows_max: stop
    after so many rows.
    """

    name: str
    subset: str | None = None
    split: str = "train"
    revision: str | None = None
    data_files: str | list[str] | None = None
    streaming: bool = False
    rows_max: int | None = None

    def rows(self) -> Iterator[Row]:
        try:
            for number, data in enumerate(islice(self._load(), self.rows_max), start=1):
                yield Row(dict(data), f"{self.name}/{self.split}:{number}")
        except Exception as error:  # the library raises its own, the hub's, the network's and bare ones
            what = "a data set must be one that `datasets.load_dataset` can load"
            said = " ".join(str(error).split())[:300]
            fix = "check name, subset and split, and the network; or download it and use the corpus `files`"
            raise Refusal(what, f"{self.name!r}, split {self.split!r}: {type(error).__name__}: {said}", fix) from error

    def digest(self) -> str:
        """A hash of the rows; of a stream, only of what was asked for, since it is not to be read twice.

        So a streamed data set that changes on the hub is noticed only if `revision` names a commit.
        """
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest() if self.streaming else super().digest()

    def _load(self) -> Iterable[dict[str, Any]]:
        from datasets import load_dataset  # takes seconds to import

        return load_dataset(
            self.name,
            self.subset,
            split=self.split,
            revision=self.revision,
            data_files=self.data_files,
            streaming=self.streaming,
        )
