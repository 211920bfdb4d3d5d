"""The package as a whole: what importing it costs, its rooms, its version."""

import ast
import functools
import inspect
import re
import subprocess
import sys
import typing
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "noetherlite"

# A file imports only from its own room and from rooms before it. Files at the top are faces: they re-export, and no room imports them.
ROOMS = ["_base", "_kernels", "_problem", "_motion", "_symmetry", "_run", "_tensors", "_check", "_arch", "_theory", "_sweep", "_show", "_cli"]  # fmt: skip
LARGEST_FILE = 400  # lines


@functools.cache
def files():
    """Every module's name without "noetherlite.", and its file."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in sorted(PACKAGE.rglob("*.py"))
        if "__pycache__" not in path.parts
    }


def room_of(module):
    """The place of a module's room in the order; a face's is behind all of them."""
    room = module.partition(".")[0]
    return ROOMS.index(room) if room in ROOMS else len(ROOMS)


def imported(module, source, known):
    """The package's modules that `module` imports, for types too; nothing inside functions."""
    modules, package = set(), module.split(".")[:-1]

    def named(level, name):
        """The dotted path, inside the package, that `from <level dots><name>` means; None outside of it."""
        if level:
            base = package[: len(package) - (level - 1)]
            return [*base, *(name.split(".") if name else [])]
        parts = name.split(".")
        return parts[1:] if parts[0] == "noetherlite" else None

    def add(parts):
        if parts is None:
            return False
        name = ".".join(parts)
        modules.update({name, f"{name}.__init__" if name else "__init__"} & known)
        return name in known

    def visit(node):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                add(named(0, alias.name))
        if isinstance(node, ast.ImportFrom):
            base = named(node.level, node.module or "")
            if base is not None:
                # `from . import a` needs the module a; what is not a module is an attribute of the package itself
                for alias in node.names:
                    if not add([*base, alias.name]):
                        add(base)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source))
    return modules - {module}


@functools.cache
def graph():
    modules = files()
    return {name: imported(name, path.read_text("utf-8"), set(modules)) for name, path in modules.items()}


def cycle(edges):
    """One cycle as a list of names, or []."""
    state, stack = {}, []

    def walk(node):
        state[node] = "open"
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if state.get(other) == "open":
                return [*stack[stack.index(other) :], other]
            if other not in state and (closed := walk(other)):
                return closed
        state[node] = "done"
        stack.pop()
        return []

    for node in sorted(edges):
        if node not in state and (closed := walk(node)):
            return closed
    return []


# --- structure -----------------------------------------------------------------------------------------------------


def test_rooms_import_from_rooms_before_them():
    """Types count too: what one file needs of another to be understood is an import, whoever asks for it."""
    backwards = [
        f"{module} → {other}"
        for module, others in graph().items()
        for other in sorted(others)
        if room_of(other) > room_of(module)
    ]
    assert not backwards


def test_files_are_in_rooms_and_faces_re_export():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(ROOMS)
    for module, path in files().items():
        if "." in module:
            assert not any(part.startswith("_") and part != "__init__" for part in module.split(".")[1:]), module
        elif module not in ("__init__", "__main__"):
            source = path.read_text("utf-8")
            body = {type(node) for node in ast.parse(source).body[1:]}
            assert body <= {ast.ImportFrom, ast.Assign}, f"{module} does more than re-export"
            assert len(source.splitlines()) <= 40


def test_no_name_is_a_module_and_something_else():
    import noetherlite

    faces = {module for module in files() if "." not in module and not module.startswith("__")}
    assert faces == {name for name, home in noetherlite._HOMES.items() if not home}


def test_type_checkers_see_the_same_names():
    """What __init__ imports for them is where the table says, and exported: `from a import b as b`."""
    import noetherlite

    seen = {}
    for node in ast.walk(ast.parse(files()["__init__"].read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            seen |= {alias.name: node.module or "" for alias in node.names if alias.asname == alias.name}
    assert seen == noetherlite._HOMES


def test_type_checkers_accept_rates_of_every_form():
    """Rates and decays may be arrays, functions and dicts, although what is kept is a float."""
    import noetherlite

    hints = typing.get_type_hints(noetherlite.GD)
    assert typing.Any in typing.get_args(hints["lr"])
    assert typing.Any in typing.get_args(hints["weight_decay"])
    assert typing.Any not in typing.get_args(hints["clip"])  # the control


def test_imports_have_no_cycle():
    assert not cycle(graph()), " → ".join(cycle(graph()))


def test_the_import_graph_is_not_empty():
    """Negative control: the walk finds imports, of every form, and cycles."""
    edges = graph()
    of_network = edges["_problem.network"]
    assert {"_kernels.layout", "_kernels.cpu.compiled", "_base.checks", "_problem.activations"} <= of_network
    assert "_problem.dataset" in of_network  # for type checking
    assert "bounds" in edges["__init__"]
    assert "_kernels.cpu.laws" in edges["_kernels.cpu.compiled"]
    known = {"__init__", "a", "b", "sub.__init__", "sub.c"}
    assert imported("a", "import noetherlite.b", known) == {"b"}
    assert imported("a", "from noetherlite.sub import c, d", known) == {"sub.c", "sub.__init__"}
    relative = "from .. import a\nfrom ..b import x\nfrom . import y"
    assert imported("sub.c", relative, known) == {"a", "b", "sub.__init__"}
    assert imported("a", "from . import version", known) == {"__init__"}
    assert imported("a", "def f():\n    from . import b", known) == set()
    assert imported("a", "if TYPE_CHECKING:\n    from . import b", known) == {"b"}
    assert imported("a", "class C:\n    from . import b", known) == {"b"}
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert room_of("_base.types") < room_of("_run.plan") < room_of("_cli.main") < room_of("brand_new")


@pytest.mark.parametrize("module", files())
def test_files_stay_short(module):
    assert len(files()[module].read_text("utf-8").splitlines()) < LARGEST_FILE


def test_marked_as_typed():
    assert (PACKAGE / "py.typed").is_file()


# --- version -------------------------------------------------------------------------------------------------------


def test_one_version_everywhere():
    import noetherlite

    version = metadata.version("noetherlite")
    assert noetherlite.__version__ == version
    cited = re.search(r'^version: "?([^"\s]+)"?$', (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    newest = re.search(r"^## \[?([^\]\s]+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert cited[1] == version
    assert newest[1] == version


def test_public_names_exist():
    import noetherlite

    assert noetherlite.__all__ == sorted(noetherlite.__all__, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    for name in noetherlite.__all__:
        assert getattr(noetherlite, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'figure'"):
        noetherlite.figure  # noqa: B018


def test_docstrings_name_the_settings_of_every_algorithm():
    from noetherlite._motion.algorithms import ALGORITHMS

    for kind in ALGORITHMS.values():
        parameters = inspect.getdoc(kind).partition("Parameters\n")[2].partition("\nNotes\n")[0]
        for name in set(inspect.signature(kind).parameters) - (set() if kind.takes_sam else {"sam"}):
            assert re.search(rf"^([\w, ]+, )?{name}\b", parameters, re.MULTILINE), (kind, name)


# --- what importing brings -------------------------------------------------------------------------------------------


def modules_after(statement):
    code = f"import sys\n{statement}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def brought():
    """(modules that `import noetherlite` brings, those that its dependencies alone bring)."""
    return modules_after("import noetherlite"), modules_after("import numpy, numba, llvmlite")


def test_import_is_light(brought):
    ours, theirs = brought
    assert "noetherlite._base.versions" in ours
    heavy = re.compile(r"(matplotlib|scipy\.(optimize|integrate)|tqdm|torch|IPython|numba\.cuda)(\.|$)")
    assert not {m for m in ours - theirs if heavy.match(m)}
    assert not {m for m in ours if re.match(r"(matplotlib|scipy\.(optimize|integrate))(\.|$)", m)}


def test_third_party_imports_are_the_dependencies(brought):
    ours, theirs = brought
    new = {m.partition(".")[0] for m in ours} - {m.partition(".")[0] for m in theirs}
    assert {m for m in new if m not in sys.stdlib_module_names and not m.startswith("_")} == {"noetherlite"}


@pytest.mark.needs_jit
def test_import_compiles_nothing():
    code = """
import sys, noetherlite
for name in noetherlite.__all__:
    getattr(noetherlite, name)
from numba.core.dispatcher import Dispatcher
seen = {
    f"{m.__name__}.{k}": v
    for m in list(sys.modules.values()) if m.__name__.startswith("noetherlite")
    for k, v in vars(m).items() if isinstance(v, Dispatcher)
}
assert len(seen) > 20, len(seen)
print(*[name for name, d in seen.items() if d.signatures])
noetherlite.potentials.Harmonic([[1.0]])
assert not any(d.signatures for d in seen.values())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


# --- names -----------------------------------------------------------------------------------------------------------

# Words that say nothing of what they name.
VAGUE = {"everywhere", "found", "got", "held", "kept", "own", "there"}


def names_in(source):
    """All names that a file uses or gives: variables, arguments, attributes, functions and classes."""
    for node in ast.walk(ast.parse(source)):
        for field in ("id", "arg", "attr", "name", "asname"):
            name = getattr(node, field, None)
            if isinstance(name, str):
                yield name.strip("_")


@pytest.mark.parametrize("folder", ["benchmarks", "examples", "noetherlite", "tests"])
@pytest.mark.uncounted
def test_names_say_what_things_are(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    # `Leg.kept`, the part of an axis that a law is of, is public and a key of the laws' file.
    words = VAGUE - {"kept"} if folder == "noetherlite" else VAGUE
    assert len(files) > 10
    assert {path.name: vague for path in files if (vague := words & set(names_in(path.read_text("utf-8"))))} == {}
    code = "import a as got\nclass held:\n    kept = 1\ndef _found(own): own.there = there\nf(everywhere=1)"
    assert set(names_in(code)) >= VAGUE  # the control


def test_examples_use_public_names():
    """Programs and pages for users import what is public: no module or name that begins with an underscore."""
    private = re.compile(r"(from|import) noetherlite[\w.]*\._|nl\._[a-z]")
    texts = [
        *(ROOT / "examples").glob("*.py"),
        ROOT / "README.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs" / "theory").glob("*.md"),
    ]
    assert private.search("from noetherlite._symmetry.find import defect")
    assert [f.name for f in texts if private.search(f.read_text(encoding="utf-8"))] == []
