"""Machine code on disk: whose it is, damaged files, folders that are no longer used, and Ctrl-C while it is made."""

import errno
import importlib.util
import itertools
import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core import codegen, dispatcher

import noetherlite as nl
from noetherlite._base import interrupt
from noetherlite._kernels import store
from noetherlite._run import backends, warmup

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")

KERNELS = Path(store.__file__).parent
CODE = """
from noetherlite._kernels.jit import compiled

@compiled
def inner(x):
    return x + 1.0

@compiled
def middle(x):
    return 2.0 * inner(x)

@compiled
def outer(x):
    return 3.0 * middle(x)
"""
FUNCTIONS = ("inner", "middle", "outer")


@pytest.fixture
def load(tmp_path, monkeypatch):
    """A function that loads three functions, each called by the next, as another process would: f(4.0) = 30."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "fresh.py"
    path.write_text(CODE)

    def again():
        spec = importlib.util.spec_from_file_location("fresh", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return again


@pytest.fixture
def unsaid(monkeypatch):
    """As in a process that has not said yet that it cannot keep code."""
    monkeypatch.setattr(store, "_refusals", [])


def misses(module):
    return [sum(getattr(module, name).stats.cache_misses.values()) for name in FUNCTIONS]


def code(tmp_path):
    return sorted((tmp_path / "cache").rglob("*.nbc"))


# --- files --------------------------------------------------------------------------------------------------------------


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "short": lambda path: path.write_bytes(path.read_bytes()[:10]),
    "a bit": flip_a_bit,
    "of another function": lambda path: shutil.copy(sorted(path.parent.glob("*.nbc"))[0], path),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_counts_as_absent_and_is_written_again(load, tmp_path, damage):
    first = load()
    assert (first.outer(4.0), misses(first)) == (30.0, [1, 1, 1])
    last = code(tmp_path)[-1]
    assert "outer" in last.name
    DAMAGE[damage](last)
    second = load()
    assert (second.outer(4.0), misses(second)) == (30.0, [0, 0, 1])
    third = load()
    assert (third.outer(4.0), sum(misses(third))) == (30.0, 0)


@pytest.mark.usefixtures("unsaid")
def test_files_that_cannot_be_read_count_as_absent(load, tmp_path):
    load().outer(4.0)
    for path in code(tmp_path):
        path.unlink()
        path.mkdir()
    with pytest.warns(RuntimeWarning, match="cannot be stored"):
        assert load().outer(4.0) == 30.0


@pytest.mark.usefixtures("unsaid")
def test_a_full_disk_is_said_once_and_is_no_failure(load, tmp_path, monkeypatch):
    asked = []

    def full(path):
        asked.append(path)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "replacing", full)
    with pytest.warns(RuntimeWarning, match=r"cannot be stored in .*No space left.*NUMBA_CACHE_DIR") as said:
        assert load().outer(4.0) == 30.0
    assert (len(asked), len(said)) == (3, 1)
    assert "No space left" in store.refusal()
    assert warmup.folder() is None


def test_a_folder_that_is_removed_meanwhile_is_made_again(load, tmp_path):
    module = load()
    module.inner(4.0)
    shutil.rmtree(tmp_path / "cache")
    assert module.outer(4.0) == 30.0
    assert len(code(tmp_path)) == 2


def test_an_import_makes_no_cache_folder(load, tmp_path):
    load()
    assert not (tmp_path / "cache").exists()


# --- whose code it is -----------------------------------------------------------------------------------------------------


def test_a_change_of_any_source_is_another_cache(tmp_path):
    copy = tmp_path / "kernels"
    shutil.copytree(KERNELS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert store._digest_of(copy) == store._SOURCES
    seen = {store._SOURCES}
    for path in sorted(copy.rglob("*.py")):
        path.write_text(path.read_text() + "#")
        seen.add(store._digest_of(copy))
    (copy / "pointwise.py").rename(copy / "other.py")
    seen.add(store._digest_of(copy))
    assert len(seen) == len(list(copy.rglob("*.py"))) + 2


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (store, "_SOURCES", "0" * 64),
        (numba, "__version__", "0.0"),
        (np, "__version__", "0.0"),
        (numba.config, "BOUNDSCHECK", 1),
        (numba.config, "OPT", 1),
    ],
)
def test_another_compiler_or_processor_is_another_cache(owner, name, value, monkeypatch):
    target = ("x86_64-unknown-linux-gnu", "znver4", "+avx512f")
    names = {store._name.__wrapped__(target), store._name.__wrapped__((*target[:2], ""))}
    names.add(store._name.__wrapped__((target[0], "haswell", target[2])))
    monkeypatch.setattr(owner, name, value)
    names.add(store._name.__wrapped__(target))
    assert len(names) == 4
    assert all(store._FOLDER_NAME.fullmatch(name) for name in names)


def test_all_that_is_compiled_is_among_the_sources():
    package = Path(nl.__file__).parent
    makers = re.compile(
        r"@(numba\.|cuda\.)?(n?jit|vectorize|guvectorize|cfunc|intrinsic|compiled\w*|inlined|merged)\b|\bjit\("
    )
    outside = [p for p in package.rglob("*.py") if makers.search(p.read_text()) and KERNELS not in p.parents]
    assert outside == []
    assert sum(bool(makers.search(p.read_text())) for p in KERNELS.rglob("*.py")) > 10
    # What kernels import from elsewhere would be in their code and not in the digest.
    above = {
        p.name: imports
        for p in KERNELS.rglob("*.py")
        if (imports := set(re.findall(r"^from \.{2,3}(_base\.\w+)", p.read_text(), re.M)))
    }
    assert above.pop("jit.py") == {"_base.interrupt"}
    assert above.pop("store.py") == {"_base.files"}
    assert set().union(*above.values()) <= {"_base.types"}


# --- folders that are no longer used ----------------------------------------------------------------------------------------


def test_folders_unused_for_long_are_removed_and_nothing_else(load, tmp_path):
    module = load()
    module.outer(4.0)
    ours = code(tmp_path)[0].parent
    place = ours.parent
    long_ago = time.time() - 2 * store._UNUSED

    def folder(name, age, *names):
        made = place / name
        made.mkdir()
        for file in names:
            (made / file).write_text("")
        os.utime(made, (age, age))
        return made

    gone = [folder(f"noetherlite-{i:016x}", long_ago, "cpu.f-1.py311.0.nbc", ".cpu.g.nbc.0.tmp") for i in (1, 2)]
    stay = [
        folder("noetherlite-0000000000000003", time.time(), "cpu.f-1.py311.0.nbc"),
        folder("noetherlite-0000000000000004", long_ago, "thesis.tex"),
        folder("noetherlite-results", long_ago, "a.nbc"),
        folder("others", long_ago, "a.nbc"),
    ]
    (place / "noetherlite-0000000000000005").symlink_to(stay[-1])
    shutil.rmtree(ours)
    load().outer(4.0)
    assert ours.is_dir()
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in (*stay, place / "noetherlite-0000000000000005", stay[-1] / "a.nbc"))


def test_a_folder_that_is_found_counts_as_used(load, tmp_path):
    load().outer(4.0)
    folder = code(tmp_path)[0].parent
    os.utime(folder, (0, 0))
    store._use.cache_clear()  # as in another process
    load().outer(4.0)
    assert time.time() - folder.stat().st_mtime < store._UNUSED


# --- Ctrl-C -------------------------------------------------------------------------------------------------------------------


def press_in(owner, name):
    """Press Ctrl-C inside of the call number `at` of owner.name, before its work."""

    def install(monkeypatch, at):
        real, calls = getattr(owner, name), itertools.count()

        def pressing(*arguments, **options):
            if next(calls) == at:
                os.kill(os.getpid(), signal.SIGINT)
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, pressing)

    return install


def press_in_callback(monkeypatch, at):
    """Press Ctrl-C while LLVM calls back into Python with machine code: exceptions that are raised there are lost."""
    calls = itertools.count()

    class Code:
        def __get__(self, library, kind):
            return vars(library).get("code")

        def __set__(self, library, code):
            if code is not None and next(calls) == at:
                os.kill(os.getpid(), signal.SIGINT)
            vars(library)["code"] = code

    monkeypatch.setattr(codegen.JITCodeLibrary, "_compiled_object", Code(), raising=False)


MOMENTS = {
    "compiling": press_in(dispatcher._FunctionCompiler, "compile"),
    "in a callback of LLVM's": press_in_callback,
    "saving": press_in(store, "_dumps"),
    "half a file": press_in(os, "fsync"),
}


def interrupted(load, monkeypatch, install, at):
    """A process's functions after Ctrl-C during their compilation."""
    with monkeypatch.context() as patch:
        install(patch, at)
        module = load()
        with pytest.raises(KeyboardInterrupt):
            module.outer(4.0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return module


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_leaves_a_usable_process_and_cache(load, tmp_path, monkeypatch, capsys, moment, at):
    module = interrupted(load, monkeypatch, MOMENTS[moment], at)
    assert "noetherlite is compiling" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.tmp"))
    fresh = load()
    for each in (module, fresh):  # this process, and another one
        assert each.outer(4.0) == 30.0
    whole = load()
    assert (whole.outer(4.0), sum(misses(whole))) == (30.0, 0)


def test_ctrl_c_stops_before_the_next_function(load, tmp_path, monkeypatch):
    interrupted(load, monkeypatch, MOMENTS["saving"], 0)  # while the first of three is saved
    assert [path.name.split("-")[0] for path in code(tmp_path)] == ["fresh.inner"]


def test_ctrl_c_ends_what_other_threads_compile(load, monkeypatch):
    """As in an ensemble: the main thread waits, under an `Interrupt`, and signals come to it alone."""
    compile_one, raised = dispatcher._FunctionCompiler.compile, []

    def pressing(*arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            if interrupt._compilations._stopping:
                break
            time.sleep(0.01)
        return compile_one(*arguments, **options)

    monkeypatch.setattr(dispatcher._FunctionCompiler, "compile", pressing)
    module = load()

    def work():
        try:
            module.outer(4.0)
        except KeyboardInterrupt:
            raised.append(threading.current_thread())

    threads = [threading.Thread(target=work) for _ in range(2)]
    with interrupt.Interrupt() as press:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(raised) == set(threads)  # also the one that waited for its turn to compile
    assert press.requested
    monkeypatch.setattr(
        dispatcher._FunctionCompiler, "compile", compile_one
    )  # code is kept in the folder of the test, as above
    assert module.outer(4.0) == 30.0


@pytest.mark.parametrize(("single", "n_threads"), [(True, 1), (False, 1), (False, 2)])
def test_ctrl_c_during_the_first_compilation_is_a_keyboard_interrupt(single, n_threads, monkeypatch, capsys):
    U, x = nl.potentials.Radial(3), np.array([1.0, 0.5, 0.2])

    def run():
        if single:
            return nl.integrate(U, nl.Leapfrog(1e-2), x, 5)
        return nl.ensemble(U, nl.Leapfrog(1e-2), [x, 2 * x, 3 * x], 5, n_threads=n_threads)

    whole = run()
    real, lock, all_arrived = backends.compiled.advance, threading.RLock(), threading.Barrier(n_threads)

    def on_the_first_run_ever(*arguments):
        all_arrived.wait(60)
        with interrupt.between_functions(lock):
            while interrupt._compilations._running < n_threads:  # the others wait for the lock
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGINT)
            while not interrupt._compilations._stopping:
                time.sleep(0.001)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(backends.compiled, "advance", on_the_first_run_ever)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert capsys.readouterr().err.count("noetherlite is compiling") == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    np.testing.assert_array_equal(run().loss, whole.loss)
