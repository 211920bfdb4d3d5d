"""The pages in a real browser that reaches no network: equations are typeset, and the search finds."""

import html
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
    found = re.search(r'<ul [^>]*class="search"[^>]*>(.*)</ul>', document, re.DOTALL)
    return re.findall(r"<li[^>]*>\s*<a [^>]*>(.*?)</a>", found[1], re.DOTALL) if found else []


def test_search_finds(browse):
    titles = [html.unescape(re.sub(r"<[^>]+>", "", title)) for title in results(browse("search.html?q=leapfrog"))]
    assert any("Leapfrog" in title for title in titles)
    assert any("discrete laws" in title for title in titles)
    # negative control
    assert results(browse("search.html?q=leapfroog")) == []


MEASURE = """
onload = async () => {
  const inside = [...document.querySelectorAll("iframe")].map(frame => frame.contentWindow);
  await Promise.all(inside.map(page => page.MathJax?.startup.promise));
  document.title = inside.map(page => page.document.documentElement.scrollWidth);
};
"""


def test_pages_are_no_wider_than_a_phone(browse, built):
    """Wide formulas, tables and code scroll in boxes of their own: measured by a script in a frame of 390 pixels."""
    probe = built / "_static" / "probe.html"
    pages = ["index.html", "theory/symmetries.html", "theory/discrete.html", "performance.html", "gallery/bounds.html"]
    frames = "".join(f'<iframe width="390" height="800" src="../{page}"></iframe>' for page in pages)
    wide = "<!doctype html><div style='width: 500px'>negative control</div>"
    probe.write_text(
        f'<!doctype html>{frames}<iframe width="390" srcdoc="{wide}"></iframe><script>{MEASURE}</script>', "utf-8"
    )
    try:
        found = re.search(r"<title>([\d,]+)</title>", browse("_static/probe.html"))[1].split(",")
    finally:
        probe.unlink()
    *widths, control = map(int, found)
    assert len(widths) == len(pages)
    assert max(widths) <= 390 < control
