"""How the documentation is built: `sphinx-build -W --keep-going -n docs docs/_build/html`."""

from __future__ import annotations

import gc
import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS)]
os.environ["MPLBACKEND"] = "Agg"

import _generated  # noqa: E402
from jinja2.sandbox import SandboxedEnvironment  # noqa: E402
from numpydoc import docscrape_sphinx  # noqa: E402

import noetherlite  # noqa: E402

_generated.write(DOCS / "_build" / "generated")

project, author = "noetherlite", "the noetherlite developers"
project_copyright = "2026, the noetherlite developers"
version = release = noetherlite.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "*.ipynb"]
nitpicky = True
suppress_warnings = ["config.cache"]  # functions in `sphinx_gallery_conf`

# --- pages ---------------------------------------------------------------------------------------------------------------

html_theme = "furo"
html_title = f"noetherlite {version}"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["noetherlite.css"]
html_show_sourcelink = html_copy_source = False
pygments_style, pygments_dark_style = "friendly", "github-dark"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

# --- mathematics: MathJax from a package, so that pages typeset without a network -----------------------------------------

mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = {
    "options": {"enableMenu": False}  # the menu would offer to load what is not here
}


def copy_mathjax(app: object, exception: Exception | None) -> None:
    """Put MathJax and its fonts beside the pages."""
    package = importlib.util.find_spec("sphinx-mathjax-offline")
    if exception is None and app.builder.format == "html":
        source, target = Path(package.origin).parent / "static" / "mathjax", Path(app.outdir) / "_static" / "mathjax"
        fonts = "output/chtml/fonts/woff-v2"
        target.mkdir(exist_ok=True)
        shutil.copy(source / "tex-chtml.js", target)
        shutil.copytree(source / fonts, target / fonts, dirs_exist_ok=True)


# --- reference -----------------------------------------------------------------------------------------------------------

default_role = "py:obj"
nitpick_ignore_regex = [("py:obj", ".*")]  # a name in backticks is a link where it can be one
autosummary_generate = True
autosummary_ignore_module_all = False
autosummary_context = {  # names of a face that stand above it too, and are described there
    "above": [
        f"noetherlite.{face}.{name}"
        for face, home in noetherlite._HOMES.items()
        if not home
        for name in getattr(noetherlite, face).__all__
        if getattr(noetherlite, name, None) is getattr(getattr(noetherlite, face), name)
    ]
}
autodoc_typehints = "none"  # shapes and meanings stand in the docstrings
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
toc_object_entries_show_parents = "hide"


def keep_formulas(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Escape what formulas in docstrings share with the markup: |w|² is no substitution, (R, *shape) no emphasis."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(``.+?``|`.+?`)", line)
            lines[i] = "".join(p if p.startswith("`") else re.sub(r"(?<!\*)\*(?=\w)|\|", r"\\\g<0>", p) for p in parts)


_environments: list[SandboxedEnvironment] = []


def one_environment(loader: object) -> SandboxedEnvironment:
    """Return the environment in which numpydoc's template is compiled: the first for all docstrings, instead of one for each."""
    if not _environments:
        _environments.append(SandboxedEnvironment(loader=loader))
    return _environments[0]


docscrape_sphinx.SandboxedEnvironment = one_environment


# --- sidebar: on each page all pages, which takes the theme most of the time to make ---------------------------------------

_sidebars: dict[tuple, tuple[str, str]] = {}  # a page and its sidebar, per folder and pages above


def _beside(app: object, page: str, context: dict) -> tuple:
    """Return the folder of a page and the pages above it; () at the top, and where pages below it are unfolded."""
    above = tuple(parent["link"] for parent in context.get("parents", []))
    return (page.rpartition("/")[0], above) if above and page not in app.env.toctree_includes else ()


def leave_sidebar(app: object, page: str, template: str, context: dict, doctree: object) -> None:
    """Do not make the sidebar of a page beside one whose sidebar is known."""
    if _beside(app, page, context) in _sidebars:
        context.pop("toctree", None)


def take_sidebar(app: object, page: str, template: str, context: dict, doctree: object) -> None:
    """Take the sidebar of a page beside this one, with the mark of the current page at another place."""
    if key := _beside(app, page, context):
        other, sidebar = _sidebars.setdefault(key, (page, context["furo_navigation_tree"]))
        if other != page:
            link = '"><a class="reference internal" href="{}">'.format
            current = ' current current-page"><a class="current reference internal" href="#">'
            uri = app.builder.get_relative_uri
            sidebar = sidebar.replace(current, link(uri(page, other))).replace(link(uri(other, page)), current)
            context["furo_navigation_tree"] = sidebar


# --- gallery: the examples, run in a copy, with the figures they write ---------------------------------------------------

NEEDS = {
    "any_model": "torch",
    "check_jax": "jax",
    "check_torch": "torch",
    "flax_adam": "optax",
    "hugging_face": "transformers",
    "keras_jax": "keras",
    "resnet": "torch",
}
EXAMPLES = DOCS / "_build" / "examples"
shutil.rmtree(EXAMPLES, ignore_errors=True)
shutil.copytree(ROOT / "examples", EXAMPLES)
(EXAMPLES / "GALLERY_HEADER.rst").write_text(
    "Examples\n========\n\nShort programs, each run when these pages were built: what it printed and drew stands above it.\n"
)


def written_figures(block: tuple[str, str, int], block_vars: dict, gallery_conf: dict) -> str:
    """Move the PNGs that an example wrote into the gallery."""
    from sphinx_gallery.scrapers import figure_rst

    shown = []
    for png in sorted(EXAMPLES.rglob("*.png")):
        shown.append(next(block_vars["image_path_iterator"]))
        shutil.move(png, shown[-1])
    return figure_rst(shown, gallery_conf["src_dir"])


def leave_in_place(gallery_conf: dict, example: str) -> None:
    """Do not search for garbage, before an example is run, among all that was there: it takes half a second."""
    gc.freeze()


def leave_garbage(app: object, env: object, pages: list[str]) -> None:
    """Do not search for garbage, once the examples have run, among the nodes of the pages: it takes a fifth of the time of the rest."""
    gc.disable()


def plain_thumbnail(path: Path) -> Path:
    """Draw what stands for an example that prints and draws nothing."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 2.8), dpi=100, facecolor="#f2f4f7")
    figure.text(0.5, 0.5, "Q = const", size=30, family="monospace", color="#4a5568", ha="center", va="center")
    figure.savefig(path)
    return path


absent = [stem for stem, package in NEEDS.items() if importlib.util.find_spec(package) is None]
sphinx_gallery_conf = {
    "examples_dirs": str(EXAMPLES.relative_to(DOCS)),
    "gallery_dirs": "gallery",
    "filename_pattern": rf"/(?!{'|'.join([*absent, '$'])})\w+\.py",  # the others are shown without being run
    "within_subsection_order": "ExampleTitleSortKey",
    "default_thumb_file": str(plain_thumbnail(DOCS / "_build" / "thumbnail.png")),
    "image_scrapers": (written_figures,),
    "reset_modules": ("matplotlib", leave_in_place),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "remove_config_comments": True,
}


def setup(app: object) -> None:
    """Connect what is written above."""
    app.connect("env-before-read-docs", leave_garbage)
    app.connect("build-finished", copy_mathjax)
    app.connect("html-page-context", leave_sidebar, priority=499)  # 500 is the theme's
    app.connect("html-page-context", take_sidebar, priority=501)
    app.connect("autodoc-process-docstring", keep_formulas, priority=100)
