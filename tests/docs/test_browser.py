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


MEASURE = """
onload = async () => {{
  const measured = [];
  for (const frame of document.querySelectorAll("iframe")) {{
    const page = frame.contentDocument;
    await frame.contentWindow.MathJax?.startup.promise;
    measured.push([{numbers}]);
  }}
  document.title = JSON.stringify(measured);
}};
"""


def measure(browse, built, name, frames, numbers, dark=False):
    """Return `numbers`, expressions of JavaScript in a `frame` and its document `page`, for every frame of a page made of them."""
    probe = built / "_static" / f"{name}.html"
    probe.write_text(f"<!doctype html>{''.join(frames)}<script>{MEASURE.format(numbers=numbers)}</script>", "utf-8")
    try:
        document = browse(f"_static/{name}.html", dark)
    finally:
        probe.unlink()
    return json.loads(html.unescape(re.search(r"<title>(.*?)</title>", document)[1]))


def test_no_page_has_an_error_in_a_formula(browse, built):
    names = sorted(path.name for path in (built / "theory").glob("*.html"))
    frames = [f'<iframe src="../theory/{name}"></iframe>' for name in names]
    frames.append('<iframe srcdoc="<mjx-merror>"></iframe>')  # negative control
    counts = 'page.querySelectorAll("mjx-container").length, page.querySelectorAll("mjx-merror").length'
    *seen, control = measure(browse, built, "formulas", frames, counts)
    assert control == [0, 1]
    for name, (formulas, errors) in zip(names, seen, strict=True):
        assert formulas > 0, name
        assert errors == 0, name


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
PAGES = ["index.html", "choose.html", "how_a_run_works.html", "theory/discrete.html", "theory/ntk.html"]
PAGES += ["performance.html", "gallery/broken_laws.html", "genindex.html"]


@pytest.mark.parametrize(("dark", "widths"), [(False, WIDTHS), (True, WIDTHS[:1])])  # colours change no width
def test_pages_are_no_wider_than_their_window(browse, built, dark, widths):
    """Wide formulas, tables and code scroll in boxes of their own, pictures take the column: measured in frames of all widths."""
    frames = [f'<iframe width="{w}" height="800" src="../{page}"></iframe>' for page in PAGES for w in widths]
    # Negative controls: what the theme does with a box that is as wide as it likes.
    wide = "<!doctype html><style>.content { width: 2000px }</style><div class='content'>.</div>"
    frames += [f'<iframe width="{w}" srcdoc="{wide}"></iframe>' for w in widths]
    content = 'page.querySelector(".content")'
    numbers = f"frame.width, page.documentElement.scrollWidth, {content}.getBoundingClientRect().right,"
    numbers += f"{content}.scrollWidth - {content}.clientWidth, getComputedStyle(page.body).backgroundColor,"
    pictures = 'page.querySelectorAll(".sphx-glr-horizontal img")'
    numbers += f"[...{pictures}].filter(i => i.width < Math.min(i.naturalWidth, 0.8 * {content}.clientWidth)).length"
    measured = measure(browse, built, "widths", frames, numbers, dark)
    assert len(measured) == (len(PAGES) + 1) * len(widths)
    *seen, controls = (measured[i : i + len(widths)] for i in range(0, len(measured), len(widths)))
    for page, rows in zip(PAGES, seen, strict=True):
        for width, whole, right, hidden, colour, small in rows:
            assert whole <= int(width), (page, width)
            assert right <= int(width), (page, width)
            assert hidden <= 0, (page, width)
            assert small == 0, (page, width)
            assert (sum(map(int, re.findall(r"\d+", colour)[:3])) < 200) == dark, (page, width)
    assert all(whole > int(width) for width, whole, *_ in controls)
