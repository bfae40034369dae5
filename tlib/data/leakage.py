"""Is the text of a test set in a pretraining corpus? Shared runs of words tell."""

from collections.abc import Iterable
from typing import NamedTuple

from tlib.data.text import words


class Overlap(NamedTuple):
    """Result of `overlap`.

    Attributes:
        fraction: share of the test documents that have a run of n words in common with the corpus.
        examples: up to five of them, as `(position of the document, the shared words)`.
        short: how many documents have fewer than n words, so that nothing can be said of them.
    """

    fraction: float
    examples: list[tuple[int, str]]
    short: int


def overlap(corpus_texts: Iterable[str], test_texts: Iterable[str], n: int = 13) -> Overlap:
    """How many test documents share a run of `n` word tokens (lower case, no punctuation) with the corpus.

    13 is the length that GPT-3's authors chose (Brown et al. 2020, appendix C). Runs are compared as 64-bit hashes, of
    which only the test documents' are held in memory; the corpus is read once, so it may be a generator. A false hit
    has a probability below 1e-5 for ten million words of either.

    Raises:
        ValueError: no test document, or n below 1.
    """
    tests = [words(text) for text in test_texts]
    hits = _shared_runs(corpus_texts, tests, n)
    shared = [position for position, hit in enumerate(hits) if len(hit)]
    examples = [(position, " ".join(tests[position][hits[position][0] :][:n])) for position in shared[:5]]
    return Overlap(len(shared) / len(tests), examples, sum(len(tokens) < n for tokens in tests))


def without_overlap(corpus_texts: Iterable[str], test_texts: Iterable[str], n: int = 13) -> list[str]:
    """The texts of a corpus that have no run of `n` words in common with a test document, as `overlap` sees it.

    Raises ValueError as `overlap` does, and if the corpus is empty.
    """
    corpus = list(corpus_texts)
    hits = _shared_runs(test_texts, [words(text) for text in corpus], n)
    return [text for text, hit in zip(corpus, hits, strict=True) if not len(hit)]


def _shared_runs(corpus_texts: Iterable[str], tests: list[list[str]], n: int) -> list:
    """Where in each test document (a list of words) the runs begin that the corpus has too, one array a document."""
    import numpy as np

    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if not tests:
        raise ValueError("there is no test document to look for")
    hashing = _RunHashes(n)
    runs = [hashing(tokens) for tokens in tests]
    wanted = np.unique(np.concatenate(runs))
    found = np.zeros(len(wanted), dtype=bool)
    for text in corpus_texts if len(wanted) else ():
        seen = hashing(words(text))
        places = np.searchsorted(wanted, seen) % len(wanted)
        found[places[wanted[places] == seen]] = True
    return [np.flatnonzero(np.isin(run, wanted[found])) for run in runs]


class _RunHashes:
    """Hashes of a document's runs of n tokens, uint64 [number of runs]: a polynomial of the words' own hashes."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.known: dict[str, int] = {}

    def __call__(self, tokens: list[str]):
        import hashlib

        import numpy as np

        for word in tokens:
            if word not in self.known:
                self.known[word] = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
        values = np.array([self.known[word] for word in tokens], dtype=np.uint64)
        runs = np.zeros(max(0, len(tokens) - self.n + 1), dtype=np.uint64)
        for start in range(self.n):
            runs = runs * np.uint64(0x9E3779B97F4A7C15) + values[start : start + len(runs)]
        return runs
