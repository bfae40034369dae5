"""The built site, served on a free port, and a real browser to look at it. `make book` must have run."""

import gzip
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from built import SITE
from playwright.sync_api import Browser, Page, sync_playwright

from tlib.data import archives, sources
from tlib.data.catalogue import Archive
from tlib.pdf import BROWSERS

AXE = Archive(
    "npm",
    "axe-core",
    "4.14.1",
    "axe-core-4.14.1.tgz",
    "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745",
)
COMPRESSED = ("text", "javascript", "json", "svg")  # kinds that web hosts send compressed
# Without these Chromium speaks to hosts of its own, and as root it does not start at all.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]


@pytest.fixture(scope="session")
def site() -> Path:
    """Folder of the built pages."""
    if not (SITE / "index.html").is_file():
        pytest.fail(f"There is no site in {SITE}: run `make book` first.")
    return SITE


@pytest.fixture(scope="session")
def server(site: Path) -> Iterator[str]:
    """Address of a server that serves the site as web hosts do, such as `http://127.0.0.1:40123`."""

    class Host(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            """A file, compressed if it is text."""
            path = Path(self.translate_path(self.path))
            kind = self.guess_type(str(path))
            if not path.is_file() or not any(word in kind for word in COMPRESSED):
                super().do_GET()
                return
            body = gzip.compress(path.read_bytes(), 6)
            self.send_response(200)
            for name, value in (("Type", kind), ("Encoding", "gzip"), ("Length", str(len(body)))):
                self.send_header(f"Content-{name}", value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: pytest's output is for failures."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Host, directory=str(site))) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser's program."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.fail("The site is tested in Chromium, and there is none: install it, e.g. `apt-get install chromium`.")
    return executable


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """Chromium, headless."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, headless=True, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A tab as wide as a laptop's, with nothing kept from earlier pages."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """Source of axe-core, which finds barriers to people who use assistive technology."""
    return archives.member(sources.fetch(AXE, "axe-core, for the tests of the site"), "package/axe.min.js").decode()
