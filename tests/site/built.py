"""Where the built site lies, which pages it has, and the three whose weight and speed are measured.

`TLIB_SITE` names another folder of built pages than `_build/html`, for example a downloaded one.
"""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
SITE = Path(os.environ.get("TLIB_SITE") or ROOT / "_build" / "html")
PAGES = sorted(
    page.relative_to(SITE).as_posix()
    for page in SITE.rglob("*.html")
    if "_static" not in page.parts and page != SITE / "index.html"  # which only leads to book/index.html
)
_SIZES = {page: (SITE / page).stat().st_size for page in PAGES if page.startswith("notebooks/")}
LONGEST_CHAPTER = max(_SIZES, key=_SIZES.get, default="notebooks/04_bert.html")
MEASURED = ["book/index.html", "book/results.html", LONGEST_CHAPTER]
