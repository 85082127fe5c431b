"""Documents in memory, for tests that need no tokenizer."""

import numpy as np


class Memory:
    """Documents of the given ids; `learned(document, place)` is the loss mask, everything unless told."""

    def __init__(self, documents, learned=lambda document, place: True, labels=None):
        self.documents = [np.array(ids, np.uint16) for ids in documents]
        self.masks = [np.array([learned(d, i) for i in range(len(ids))]) for d, ids in enumerate(self.documents)]
        self.lengths = np.array([len(ids) for ids in self.documents])
        self.bytes = self.lengths
        self.cuts = np.zeros(len(self.documents), int)
        self.labels = np.array(labels if labels is not None else [np.nan] * len(self.documents))

    def __len__(self):
        return len(self.documents)

    def __getitem__(self, document):
        return self.documents[document], self.masks[document]

    def tally(self, size):
        return np.bincount(np.concatenate(self.documents), minlength=size)

    def tally_classes(self, size):
        return np.bincount(self.labels.astype(int), minlength=size)


def counting(count=12, vocab=17, seed=0):
    """Documents that count upwards from a random number, modulo the vocabulary: easy to learn."""
    random = np.random.default_rng(seed)
    starts, lengths = random.integers(vocab, size=count), random.integers(2, 14, size=count)
    return [(start + np.arange(length)) % vocab for start, length in zip(starts, lengths, strict=True)]
