"""The documentation is built without warnings, its links lead somewhere, it needs no network, and it has what it should."""

import hashlib
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import noetherlite

pytestmark = pytest.mark.docs

ROOT = Path(__file__).resolve().parents[2]

MATHJAX = "0a6ded5abbce13331658dd239f34382abd06492c74b71b61e8caa8112ec55fa5"  # tex-chtml.js of MathJax 3.2.2 on npm


class Page(HTMLParser):
    """The anchors of a page, where it links to, and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.loaded = {"", "top"}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors.update(values[key] for key in ("id", "name") if values.get(key))
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") in ("stylesheet", "preload", "icon") and values.get("href"):
            self.loaded.append(values["href"])
        elif values.get("src"):
            self.loaded.append(values["src"])


@pytest.fixture(scope="module")
def pages(built):
    return {
        path: Page(path.read_text("utf-8")) for path in sorted(built.rglob("*.html")) if "_static" not in path.parts
    }


@cache
def target(folder, path):
    """The file that a link from a page in `folder` leads to, None if there is none; the sidebars of a folder have the same."""
    file = (folder / unquote(path)).resolve()
    return file if file.is_file() else None


def dangling(pages, path, links):
    """The links from `path`, inside the documentation, that lead nowhere."""
    lost = []
    for link in links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        file = target(path.parent, parts.path) if parts.path else path
        if file is None or (file in pages and unquote(parts.fragment) not in pages[file].anchors):
            lost.append(link)
    return lost


def test_links_lead_somewhere(pages):
    assert len(pages) > 80
    lost = {
        path.name: links for path, page in pages.items() if (links := dangling(pages, path, page.links + page.loaded))
    }
    assert not lost
    index = next(path for path in pages if path.name == "index.html" and path.with_name("theory.html") in pages)
    assert "theory.html" in pages[index].links
    # negative control
    wrong = ["theory.html#nowhere", "nowhere.html", "#nowhere"]
    assert dangling(pages, index, ["theory.html#vocabulary", *wrong]) == wrong


def test_nothing_is_loaded_from_elsewhere(pages, built):
    foreign = {link for page in pages.values() for link in page.loaded if urlsplit(link).netloc}
    assert not foreign
    styles = "".join(path.read_text("utf-8") for path in built.rglob("*.css"))
    assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^\s\"')]+", styles)


def test_mathjax_is_the_published_one(built):
    script = (built / "_static" / "mathjax" / "tex-chtml.js").read_bytes()
    assert hashlib.sha256(script).hexdigest() == MATHJAX


def test_every_public_name_is_in_the_reference(pages):
    anchors = set().union(*(page.anchors for path, page in pages.items() if "api" in path.parts))
    missing = [n for n in noetherlite.__all__ if not {f"noetherlite.{n}", f"module-noetherlite.{n}"} & anchors]
    assert not missing
    for module in ("bounds", "convert", "datasets", "figures", "lagrangian", "ntk", "plot", "potentials", "testing"):
        listed = [anchor for anchor in anchors if anchor.startswith(f"noetherlite.{module}.")]
        assert listed, module


def test_every_example_is_in_the_gallery_with_what_it_printed(built):
    for example in (ROOT / "examples").glob("*.py"):
        text = (built / "gallery" / f"{example.stem}.html").read_text("utf-8")
        if example.stem not in ("check_torch", "check_jax"):  # these run where the framework is installed
            assert "sphx-glr-script-out" in text, example.name
        figures = re.findall(r'\.png"', example.read_text("utf-8"))
        assert ("_images/sphx_glr_" in text) == bool(figures) or example.stem in ("figures", "broken_laws"), (
            example.name
        )


def test_the_command_line_is_the_program_s(built):
    text = (built / "command_line.html").read_text("utf-8")
    assert "noetherlite figure" in text
    assert re.search(r"usage: noetherlite warmup", text)


def test_benchmark_tables_are_included(built):
    text = (built / "performance.html").read_text("utf-8")
    assert "PyTorch ÷ ours" in text
    assert re.search(r'src="_images/scaling\w*\.png"', text)
