"""The pages in a real browser that reaches no network: equations are typeset, and the search finds."""

import html
import json
import re

import pytest

pytestmark = pytest.mark.docs


def text_of(document):
    """What a reader sees, without scripts."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", document, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", " ", body))


@pytest.mark.parametrize("page", ["index.html", "theory/discrete.html", "theory/symmetries.html", "theory/broken.html"])
def test_equations_are_typeset(browse, built, page):
    source = (built / page).read_text("utf-8")
    formulas = len(re.findall(r'class="math notranslate', source))
    document = browse(page)
    typeset = re.findall(r"<mjx-container\b", document)
    assert formulas >= 3
    assert len(typeset) == formulas
    assert "<mjx-merror" not in document
    seen = text_of(document)
    assert not re.search(r"\\\(|\\\[|\\frac|\\langle|\$\$", seen)
    # negative control: this is what it looks like before
    assert re.search(r"\\\(|\\\[", text_of(source))


def test_no_page_has_an_error_in_a_formula(browse, built):
    for path in sorted((built / "theory").glob("*.html")):
        assert "<mjx-merror" not in browse(f"theory/{path.name}"), path.name


def results(document):
    """The titles that the search page lists."""
    listed = re.search(r'<ul [^>]*class="search"[^>]*>(.*)</ul>', document, re.DOTALL)
    return re.findall(r"<li[^>]*>\s*<a [^>]*>(.*?)</a>", listed[1], re.DOTALL) if listed else []


def test_search_finds(browse):
    titles = [html.unescape(re.sub(r"<[^>]+>", "", title)) for title in results(browse("search.html?q=leapfrog"))]
    assert any("Leapfrog" in title for title in titles)
    assert any("discrete laws" in title for title in titles)
    # negative control
    assert results(browse("search.html?q=leapfroog")) == []


WIDTHS = (390, 1024, 1152, 1366, 1920)  # a phone, small and large screens
PAGES = ["index.html", "choose.html", "how_a_run_works.html", "theory/symmetries.html", "theory/broken.html"]
PAGES += ["performance.html", "gallery/bounds.html"]
MEASURE = """
onload = async () => {
  const measured = [];
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument, content = page.querySelector(".content");
    await frame.contentWindow.MathJax?.startup.promise;
    measured.push([frame.width, page.documentElement.scrollWidth, content.getBoundingClientRect().right,
                content.scrollWidth - content.clientWidth, getComputedStyle(page.body).backgroundColor]);
  }
  document.title = JSON.stringify(measured);
};
"""


@pytest.mark.parametrize("dark", [False, True])
def test_pages_are_no_wider_than_their_window(browse, built, dark):
    """Wide formulas, tables and code scroll in boxes of their own: measured by a script in frames of all widths."""
    probe = built / "_static" / "probe.html"
    frames = "".join(f'<iframe width="{w}" height="800" src="../{page}"></iframe>' for page in PAGES for w in WIDTHS)
    # Negative controls: what the theme does with a box that is as wide as it likes.
    wide = "<!doctype html><style>.content { width: 2000px }</style><div class='content'>.</div>"
    frames += "".join(f'<iframe width="{w}" srcdoc="{wide}"></iframe>' for w in WIDTHS)
    probe.write_text(f"<!doctype html>{frames}<script>{MEASURE}</script>", "utf-8")
    try:
        measured = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", browse("_static/probe.html", dark))[1]))
    finally:
        probe.unlink()
    assert len(measured) == (len(PAGES) + 1) * len(WIDTHS)
    *seen, controls = (measured[i : i + len(WIDTHS)] for i in range(0, len(measured), len(WIDTHS)))
    for page, rows in zip(PAGES, seen, strict=True):
        for width, whole, right, hidden, colour in rows:
            assert whole <= int(width), (page, width)
            assert right <= int(width), (page, width)
            assert hidden <= 0, (page, width)
            assert (sum(map(int, re.findall(r"\d+", colour)[:3])) < 200) == dark, (page, width)
    assert all(whole > int(width) for width, whole, *_ in controls)
