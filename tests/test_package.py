"""The package as a whole: what importing it costs, its floors, its version."""

import ast
import functools
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "noetherlite"

# A file imports only from its own floor or an earlier one. Packages and patterns stand for all their files.
FLOORS = [
    ["_base.types", "_base.schema", "_base.checks", "_base.files", "_base.identity", "_base.by_name", "_base.limits", "_base.html", "_base.interrupt", "_base.progress", "_base.floating", "_base.versions"],
    ["_kernels.*"],
    [
        "_problem.activations", "_problem.potentials", "_problem.network", "_problem.data", "_problem.idx", "_problem.download", "_problem.kmnist", "_problem.glyphs", "_motion.dynamics",
        "_motion.algorithms",
    ],
    ["_symmetry.find", "_symmetry.family", "_symmetry.catalogue", "_problem.points", "_symmetry.records", "_motion.bounds"],
    [
        "_run.trajectory", "_run.integrate", "_run.ensemble", "_run.memory", "_run.plan", "_run.backends", "_run.device", "_base.threads", "_run.reduction", "_show.plots", "_run.setup", "_run.checkpoint",
        "_run.exactness", "_run.tables",
        "_run.checkpoint_file", "_run.resume", "_sweep.sweep", "_sweep_*",
    ],
    ["_tensors.*", "tensors"],
    [
        "_motion.flow", "_theory.lagrangian", "_symmetry.formulas", "_base.notation", "_symmetry.rebalance", "_check.convert", "_check.layers", "_check.check", "_check.verdict", "_check.implied",
        "_motion.gated", "_motion.normals", "_motion.kinks", "_motion.sliding", "_check.flow", "_base.precision", "_check.rounding", "_check.rows", "_check.replay", "_check.causes", "_check.steps", "_check.limits",
        "_check.clock", "_check.recording", "_check.monitor", "_theory.drift", "_theory.charge_flow", "_check.asserts", "ntk", "_ntk_*", "_theory.discovery", "_theory.brackets", "_theory.counting",
    ],
    ["_show.figures", "_figures_*", "_show.page", "_page_*", "_symmetry.discrete", "_run.warmup", "_cli.main", "_cli.*", "__main__", "__init__"],
]  # fmt: skip
LARGEST_FILE = 400  # lines


def files():
    """Every module's name without "noetherlite.", and its file."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in sorted(PACKAGE.rglob("*.py"))
        if "__pycache__" not in path.parts
    }


def floor_of(module):
    for i, floor in enumerate(FLOORS):
        for entry in floor:
            if re.fullmatch(re.escape(entry).replace(r"\*", ".*"), module):
                return i
    return None


def imported(module, source, known):
    """The package's modules that importing `module` needs: no TYPE_CHECKING blocks, nothing inside functions."""
    found = set()
    here = module.split(".")[:-1]

    def named(level, name):
        """The dotted path, inside the package, that `from <level dots><name>` means; None outside of it."""
        if level:
            base = here[: len(here) - (level - 1)]
            return [*base, *(name.split(".") if name else [])]
        parts = name.split(".")
        return parts[1:] if parts[0] == "noetherlite" else None

    def add(parts):
        if parts is None:
            return False
        name = ".".join(parts)
        found.update({name, f"{name}.__init__" if name else "__init__"} & known)
        return name in known

    def visit(node):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child)
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
    return found - {module}


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
            if other not in state and (found := walk(other)):
                return found
        state[node] = "done"
        stack.pop()
        return []

    for node in sorted(edges):
        if node not in state and (found := walk(node)):
            return found
    return []


# --- structure -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", files())
def test_every_file_has_a_floor_and_imports_downwards(module):
    floor = floor_of(module)
    assert floor is not None, f"give {module} a floor: add it to FLOORS in {Path(__file__).name}"
    too_high = {other for other in graph()[module] if (floor_of(other) or 0) > floor}
    assert not too_high, f"{module} (floor {floor}) imports from above: {sorted(too_high)}"


def test_imports_have_no_cycle():
    found = cycle(graph())
    assert not found, " → ".join(found)


def test_the_import_graph_is_not_empty():
    """Negative control: the walk finds imports, of every form, and cycles."""
    edges = graph()
    assert {"_kernels.cpu", "_kernels.layout", "_validate", "_types", "activations"} <= edges["network"]
    assert "datasets" not in edges["network"]  # only for type checking
    assert "datasets" in edges["__init__"]
    assert "_kernels.cpu_laws" in edges["_kernels.cpu"]
    known = {"__init__", "a", "b", "sub.__init__", "sub.c"}
    assert imported("a", "import noetherlite.b", known) == {"b"}
    assert imported("a", "from noetherlite.sub import c, d", known) == {"sub.c", "sub.__init__"}
    assert imported("sub.c", "from .. import a\nfrom ..b import x\nfrom . import y", known) == {
        "a",
        "b",
        "sub.__init__",
    }
    assert imported("a", "from . import version", known) == {"__init__"}
    assert imported("a", "def f():\n    from . import b\nif TYPE_CHECKING:\n    from . import b", known) == set()
    assert imported("a", "class C:\n    from . import b", known) == {"b"}
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert floor_of("brand_new") is None


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
    assert "noetherlite.network" in ours
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
