"""Run every cell of a chapter on tiny sizes, in whatever environment this Python is: `tiny_chapter.py 11_adapters`.

It shows that the code runs with the versions of torch and transformers that are there; its verdicts mean nothing.
The last cells, which compare with the committed record, are left out.
"""

import sys
import tempfile
import time
from pathlib import Path

import matplotlib
import nbformat

from tlib import paths
from tlib.chapter import Chapter

ROOT, FULL = Path(__file__).parents[2], Chapter.scale
SIZES = {
    "03_ulmfit": {
        "max_tokens": 16, "chunk": 8, "seeds": 2, "low_shot_seeds": 4, "worth_seeds": 2, "test_items": 24,
        "live_updates": 2, "live_stage_2": 2, "lm_epochs": 1, "epochs_few": 1, "epochs_some": 1, "epochs_many": 1,
    },
    "11_adapters": {
        "seeds": 2, "few_seeds": 2, "per_text": 1, "labels": 24, "updates": 1, "items": 10, "timed": 1, "requests": 4,
    },
}  # fmt: skip


def main(chapter: str) -> None:
    """Execute the cells one after the other."""

    def tiny(self, **profiles):
        size = FULL(self, **profiles)
        unknown = SIZES[chapter].keys() - vars(size).keys()
        assert not unknown, f"{chapter} has no sizes {unknown}: mend SIZES"
        vars(size).update(SIZES[chapter])
        return size

    Chapter.scale = tiny
    matplotlib.use("Agg")
    notebook = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4)
    variables, start = {"__name__": "__main__", "display": lambda shown: None}, time.perf_counter()
    for cell in notebook.cells:
        if cell.cell_type == "code" and "%pip" not in cell.source and "ch.finish(" not in cell.source:
            exec(compile(cell.source, f"{chapter}, cell {cell.id}", "exec"), variables)
    print(f"{chapter} ran from beginning to end in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    if sys.argv[1:] and set(sys.argv[1:]) <= set(SIZES):
        for name in sys.argv[1:]:
            with tempfile.TemporaryDirectory() as kept:  # not the checkpoints of the chapter's real run
                paths.chapter_cache = lambda slug, profile, kept=kept: Path(kept)
                main(name)
    else:
        sys.exit(f"Name chapters out of {', '.join(SIZES)}.")
