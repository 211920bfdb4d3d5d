"""The pages, built once, and a browser that opens them without any network."""

import importlib.util
import shutil
import subprocess
import sys
import threading
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
NEEDED = ["sphinx", "furo", "myst_parser", "numpydoc", "sphinx_gallery", "sphinx_copybutton", "sphinx_design"]
NEEDED += ["sphinx-mathjax-offline"]


@pytest.fixture(scope="session")
def built():
    """The folder of pages; any warning while they are built is an error."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        pytest.skip(f"{', '.join(absent)} not installed: pip install 'noetherlite[docs]'")
    pages = DOCS / "_build" / "html"
    for left_over in (pages, DOCS / "api" / "generated"):  # of pages that there are no more
        shutil.rmtree(left_over, ignore_errors=True)
    options = ["-W", "-n", "--keep-going", "-q", "-d", str(DOCS / "_build" / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(pages)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return pages


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="session")
def address(built):
    """Where the pages are served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=built)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def browse(address, tmp_path_factory):
    """A function (page, dark) ↦ its document as Chromium has it after all scripts ran; no other machine can be reached."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no chromium here: apt-get install chromium")
    profile = tmp_path_factory.mktemp("chromium")

    @cache
    def document(page, dark=False):
        command = [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={profile}",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--virtual-time-budget=20000",
            *(["--blink-settings=preferredColorScheme=0"] if dark else []),
            "--dump-dom",
            f"{address}/{page}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return document
