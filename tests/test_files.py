"""Targets of writing: links, devices, pipes, permissions, long names; and reading of files that were zipped again."""

import errno
import io
import os
import stat
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

import noetherlite as nl
from noetherlite._base.files import arrays, leftovers, replacing, temporary
from noetherlite._cli.main import main

posix = pytest.mark.skipif(sys.platform == "win32", reason="files of POSIX")


def write(target, content=b"new"):
    with replacing(target) as file:
        file.write(content)


@pytest.fixture(scope="module")
def run():
    return nl.integrate(nl.potentials.Radial(2), nl.GD(0.1), [1.4, 0.1], 3, record_params=True)


@posix
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link_and_its_file_is_replaced(exists, tmp_path):
    (tmp_path / "far").mkdir()
    real, link, chain = tmp_path / "far" / "real", tmp_path / "link", tmp_path / "chain"
    if exists:
        real.write_bytes(b"old")
    link.symlink_to("far/real")
    chain.symlink_to("link")
    write(chain)
    assert link.is_symlink()
    assert chain.is_symlink()
    assert real.read_bytes() == b"new"
    assert [p.name for p in (tmp_path / "far").iterdir()] == ["real"]
    with pytest.raises(TypeError), replacing(chain) as file:
        file.write("half")  # text, not bytes
    assert real.read_bytes() == b"new"
    assert [p.name for p in (tmp_path / "far").iterdir()] == ["real"]


@posix
def test_devices_and_pipes_are_written_into(tmp_path):
    before = os.stat(os.devnull)
    write(Path(os.devnull))
    assert os.path.samestat(before, os.stat(os.devnull))
    assert stat.S_ISCHR(before.st_mode)
    pipe, contents = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: contents.append(pipe.read_bytes()))
    reader.start()
    content = os.urandom(1 << 18)  # more than a pipe holds at once
    write(pipe, content)
    reader.join()
    assert contents == [content]
    assert pipe.is_fifo()


@posix
@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="needs /dev/fd")
def test_what_a_program_has_open_is_written_into(tmp_path):
    with (tmp_path / "log").open("w+b") as file:
        write(Path(f"/dev/fd/{file.fileno()}"))
        assert os.path.samestat(os.fstat(file.fileno()), os.stat(tmp_path / "log"))
        assert (tmp_path / "log").read_bytes() == b"new"


@posix
def test_a_private_file_stays_private_and_folders_are_refused(tmp_path):
    (tmp_path / "private").write_bytes(b"old")
    (tmp_path / "private").chmod(0o600)
    write(tmp_path / "private")
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        write(tmp_path)


def test_a_missing_folder_is_named_and_no_temporary_file(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="there is no such folder") as caught,
        replacing(tmp_path / "none" / "it"),
    ):
        pass
    assert caught.value.filename == str(tmp_path / "none")


def test_an_error_of_writing_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught, replacing(tmp_path / "it"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(tmp_path / "it")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_is_write_protected_is_kept(tmp_path):
    (tmp_path / "kept").write_bytes(b"old")
    (tmp_path / "kept").chmod(0o400)
    with pytest.raises(PermissionError, match="write-protected"):
        write(tmp_path / "kept")
    assert (tmp_path / "kept").read_bytes() == b"old"


@pytest.mark.parametrize("letter", ["a", "é"])
def test_names_may_be_as_long_as_the_system_allows(letter, tmp_path, run):
    name = letter * ((255 - 4) // len(letter.encode())) + ".npz"
    run.save(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert np.array_equal(nl.load(tmp_path / name).params, run.params)
    other = tmp_path / f"{name[:-5]}.npz"  # cut, both begin alike
    for target in (tmp_path / name, other, tmp_path / "short.npz"):
        left = temporary(target)
        left.write_bytes(b"half")
        expected = {left} if target.name[0] == letter else set()
        assert {p for t in (tmp_path / name, other) for p in leftovers(t)} == expected
        left.unlink()


@posix
def test_a_checkpoint_through_a_link(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link.npz").symlink_to("far/real.npz")
    arguments = (nl.potentials.Radial(2), nl.GD(0.1), [1.4, 0.1], 6)
    options = {"checkpoint": tmp_path / "link.npz", "checkpoint_every": 2}
    nl.integrate(*arguments, **options, callback=lambda s: s.step == 3)
    assert (tmp_path / "link.npz").is_symlink()
    assert sorted(p.name for p in (tmp_path / "far").iterdir()) == ["real.npz", "real.previous.npz"]
    assert np.array_equal(nl.resume(tmp_path / "link").x, nl.integrate(*arguments).x)
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(ValueError, match="must be a file"):
        nl.integrate(*arguments, checkpoint=tmp_path / "pipe.npz")


# --- what is read ------------------------------------------------------------------------------------------------------


def zipped_again(path, folder, extra=()):
    """Unpack a file and zip it again, as macOS does."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        if folder:
            new.writestr(folder, "")
        for name in archive.namelist():
            new.writestr(f"{folder}{name}", archive.read(name))
            new.writestr(f"__MACOSX/{folder}._{name}", b"\0\5\26\7 attributes")
        for name in extra:
            new.writestr(name, b"text")
    return out.getvalue()


@pytest.mark.parametrize("folder", ["", "run/"])
@pytest.mark.parametrize("extra", [(), ("README.md", ".DS_Store", "run/README")])
def test_an_npz_that_was_zipped_again(folder, extra, tmp_path, run):
    path = run.save(tmp_path / "run")
    again = tmp_path / "again.npz"
    again.write_bytes(zipped_again(path, folder, extra))
    assert np.array_equal(nl.load(again).params, run.params)
    assert list(arrays(again)) == list(arrays(path))


def test_a_zip_without_arrays_says_what_it_holds(tmp_path):
    with zipfile.ZipFile(tmp_path / "it.npz", "w") as archive:
        archive.writestr("photo.jpg", b"")
    with pytest.raises(ValueError, match=r"holds photo.jpg, and no array"):
        nl.load(tmp_path / "it.npz")


def test_a_suffix_that_writers_add_readers_add(tmp_path, run):
    run.save(tmp_path / "a.b")
    np.savez(tmp_path / "data", X=np.eye(2), y=[0, 1])
    nl.integrate(nl.potentials.Radial(2), nl.GD(0.1), [1.4, 0.1], 3, checkpoint=tmp_path / "ckpt")
    assert np.array_equal(nl.load(tmp_path / "a.b").x, run.x)
    assert nl.datasets.npz(tmp_path / "data").name == "data"
    assert np.array_equal(nl.resume(tmp_path / "ckpt").x, run.x)
    assert nl.report(tmp_path / "a.b").startswith("<!doctype html>")
    (tmp_path / "a.b").mkdir()  # what is asked for by its name is a folder: the file beside it is meant
    assert np.array_equal(nl.load(tmp_path / "a.b").x, run.x)
    for missing in ("none", "none.npz"):
        with pytest.raises(FileNotFoundError, match=f"{missing}'"):
            nl.load(tmp_path / missing)


# --- pages -----------------------------------------------------------------------------------------------------------


def test_a_page_goes_where_it_is_asked_to(tmp_path, run, capsysbinary):
    path = run.save(tmp_path / "run")
    assert main(["report", str(path), "-o", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_bytes()
    capsysbinary.readouterr()
    assert main(["report", str(tmp_path / "run"), "-o", "-"]) == 0
    assert capsysbinary.readouterr().out == page
    assert main(["report", str(path), "-o", "-", "--json"]) == 2
    assert b"give one of the two" in capsysbinary.readouterr().err
    assert not Path("-").exists()
    for folder in ("sweep.1", "sweep.2"):  # whose dots are no suffix
        nl.sweep(lambda a, rng: {"x": a}, {"a": [1]}, out=tmp_path / folder)
        assert main(["report", str(tmp_path / folder)]) == 0
        assert (tmp_path / f"{folder}.html").is_file()


@pytest.mark.parametrize("verb", [["figure", "3"], ["run", "it.toml"], ["sweep", "it.toml"], ["figures"]])
@pytest.mark.parametrize(("folder", "words"), [("-", "'-' is standard output"), ("a file", "'a file' is a file")])
def test_what_is_no_folder(verb, folder, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a file").touch()
    with pytest.raises(SystemExit) as stop:
        main([*verb, "--out", folder])
    assert stop.value.code == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a file"]
