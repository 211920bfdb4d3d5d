"""Data sets: images to train on, files of the user, and point sets on spheres whose rotational symmetry is exact."""

from __future__ import annotations

import os

import numpy as np

from .._base import checks
from .._base.files import arrays, present
from .._base.types import ArrayLike, Float64Array, Seed
from .dataset import Dataset, balanced_labels
from .glyphs import N_CLASSES, draw
from .idx import read as read_idx
from .kmnist import FILES, available, load

__all__ = ["glyphs", "icosahedron", "idx", "kmnist", "npz", "polygon"]

_MOST_GLYPHS = 200_000


def kmnist(
    n: int | None = 512,
    split: str = "train",
    root: str | os.PathLike[str] | None = None,
    rng: Seed = 0,
    download: bool = False,
) -> Dataset:
    """Return Kuzushiji-MNIST: 28×28 images of ten classes of handwritten Japanese characters [1]_.

    Parameters
    ----------
    n : int or None, default 512
        Number of samples, drawn without replacement; None for all of them, in the order of the file.
    split : {"train", "test"}, default "train"
        60 000 training or 10 000 test images.
    root : path-like, optional
        Folder with the IDX files, or whose subfolder ``kmnist`` has them. Without it: the environment variable
        ``NOETHERLITE_DATA``, and without that the user's cache folder (``~/.cache/noetherlite``, or what
        ``XDG_CACHE_HOME``, Windows or macOS have in its place).
    rng : int, numpy.random.SeedSequence or numpy.random.Generator, default 0
        Chooses the samples. Not used when `n` is None.
    download : bool, default False
        Whether to fetch missing files from the official host into the subfolder ``kmnist``. Otherwise the network is
        not touched.

    Returns
    -------
    Dataset
        X of shape (n, 784) with grey values in [0, 1], y of shape (n,) with labels 0 to 9.

    Raises
    ------
    FileNotFoundError
        If a file is missing and `download` is False.
    OSError
        If a download fails or delivers something other than the official file. Nothing is left behind.
    TypeError
        If an argument has the wrong type.
    ValueError
        If a file is not the official one, `n` exceeds the split or `split` is not known.

    Notes
    -----
    The files may be gzipped or not. Each is compared with its SHA-256 before it is used. For the uncompressed training
    files none is known, and they are not used. The data set is licensed CC BY-SA 4.0.

    References
    ----------
    .. [1] T. Clanuwat et al., "Deep Learning for Classical Japanese Literature", arXiv:1812.01718 (2018).
    """
    split = checks.one_of(split, "split", FILES)
    n_available = available(split)
    if n is not None:
        n = checks.integer(n, "n", minimum=1)
        if n > n_available:
            raise ValueError(f"n={n} is more than the {n_available} samples of split={split!r}; n=None takes them all")
    generator = checks.generator(rng)
    download = checks.boolean(download, "download")
    images, labels = load(split, root, download=download)
    if n is not None:
        chosen = generator.choice(n_available, size=n, replace=False)
        images, labels = images[chosen], labels[chosen]
    return Dataset(images.reshape(len(images), -1) / 255.0, labels.astype(np.int64), f"kmnist-{split}")


def glyphs(n: int = 512, rng: Seed = 0) -> Dataset:
    """Draw 28×28 characters of ten classes: a stand-in for `kmnist` that needs no files.

    Parameters
    ----------
    n : int, default 512
        Number of images. The classes are as equal in number as `n` allows, in random order.
    rng : int, numpy.random.SeedSequence or numpy.random.Generator, default 0
        Source of order and deformations.

    Returns
    -------
    Dataset
        X of shape (n, 784) with grey values in [0, 1], y of shape (n,) with labels 0 to 9.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer from 1 to 200,000 (which take seconds, and 1.3 GB) or `rng` cannot be used.

    Notes
    -----
    Every image has its own rotation, slant, scale, position, pen width, ink and bending of each stroke; three in ten
    have a stray stroke and two in ten are inverted. The difficulty is close to that of Kuzushiji-MNIST: trained on 4000
    images, a linear classifier reaches about 70 % on new ones and a [784, 128, 64, 10] ReLU network about 90 %.
    """
    n = checks.integer(n, "n", minimum=1, maximum=_MOST_GLYPHS)
    generator = checks.generator(rng)
    labels = balanced_labels(n, N_CLASSES, generator)
    return Dataset(draw(labels, generator), labels, "glyphs")


def icosahedron(label: ArrayLike = 0.6, radii: ArrayLike = (1.0,)) -> Dataset:
    """Return the 12 vertices of a regular icosahedron, on one or more spheres, with constant targets.

    Parameters
    ----------
    label : float or array_like of shape (len(radii),), default 0.6
        Target of all points, or of the points of each sphere.
    radii : array_like of shape (n_spheres,), default (1.0,)
        Radii of the spheres, positive.

    Returns
    -------
    Dataset
        X of shape (12 n_spheres, 3), sphere by sphere, y of shape (12 n_spheres, 1); `rotation_invariant` is True.

    Raises
    ------
    TypeError, ValueError
        If the radii are not positive numbers, or the number of labels does not fit them.

    Notes
    -----
    The vertices are a spherical 5-design [1]_: averages over them of polynomials of degree at most 5 equal those over
    the sphere. A loss that is such a polynomial in the network's input is therefore invariant under all rotations of
    the input, exactly, though the data are finite: one neuron of activation z² with ``loss="mse"`` and the default
    label has U(w) = (|w|² − 1)²/10 + 2/25. Other losses keep the rotations of the icosahedron only.

    References
    ----------
    .. [1] P. Delsarte, J. M. Goethals and J. J. Seidel, "Spherical codes and designs", Geometriae Dedicata 6 (1977).
    """
    golden = (1 + np.sqrt(5)) / 2
    edge = [(0.0, s, t * golden) for s in (-1, 1) for t in (-1, 1)]
    vertices = np.array([np.roll(point, shift) for shift in range(3) for point in edge]) / np.hypot(1, golden)
    return _spheres(vertices, label, radii, "icosahedron")


def npz(path: str | os.PathLike[str], rotation_invariant: bool = False) -> Dataset:
    """Read samples from an .npz file with the arrays X and y.

    Parameters
    ----------
    path : path-like
        A file written by ``numpy.savez(path, X=X, y=y)``, X and y as `Dataset` takes them.
    rotation_invariant : bool, default False
        As in `Dataset`.

    Returns
    -------
    Dataset
        Its name is that of the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError, ValueError
        If it is no .npz file, is damaged, holds Python objects, lacks X or y, or these do not make a data set.

    Examples
    --------
    >>> import tempfile, numpy as np, noetherlite as nl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/mine.npz", X=np.eye(3), y=[0, 1, 1])
    ...     nl.datasets.npz(f"{folder}/mine.npz")
    Dataset('mine', X (3, 3), y (3,) int64)
    """
    rotation_invariant = checks.boolean(rotation_invariant, "rotation_invariant")
    source = present(path)
    content = arrays(source)
    if not {"X", "y"} <= set(content):
        raise ValueError(f"path={str(source)!r} holds {sorted(content)}; expected X and y")
    return Dataset(content["X"], content["y"], source.stem, rotation_invariant)


def idx(inputs: str | os.PathLike[str], targets: str | os.PathLike[str]) -> Dataset:
    """Read samples from two IDX files, the format of MNIST, gzipped or not.

    Parameters
    ----------
    inputs : path-like
        A file with N samples: images (N, rows, columns), or any shape (N, …). Unsigned bytes are divided by 255.
    targets : path-like
        A file with N integer labels, or N rows of floating-point targets.

    Returns
    -------
    Dataset
        X of shape (N, n_0), each sample in one row; its name is that of the file of inputs.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError, ValueError
        If a file is not IDX or is of another length than its header says, or the two do not make a data set.

    Notes
    -----
    An IDX file is two zero bytes, one for the type of its entries, one for the number of dimensions, then these and the entries,
    all big-endian. Nothing is known of the files, so that nothing but their form is checked; for the official files of
    Kuzushiji-MNIST `kmnist` compares checksums.
    """
    source = checks.path(inputs, "inputs")
    X, y = read_idx(source), read_idx(checks.path(targets, "targets"))
    if X.dtype == np.uint8:
        X = X / 255.0
    if y.ndim == 1 and y.dtype.kind in "iu":
        y = y.astype(np.int64)
    elif y.ndim == 1:
        y = y[:, None]
    return Dataset(X.reshape(len(X), -1), y, source.name.partition(".")[0])


def polygon(n: int, radii: ArrayLike = (1.0,), label: ArrayLike = 0.6) -> Dataset:
    """Return the corners of a regular n-gon, on one or more circles, with constant targets.

    Parameters
    ----------
    n : int
        Number of corners, at least 3.
    radii : array_like of shape (n_circles,), default (1.0,)
        Radii of the circles, positive.
    label : float or array_like of shape (n_circles,), default 0.6
        Target of all points, or of the points of each circle.

    Returns
    -------
    Dataset
        X of shape (n n_circles, 2), circle by circle, y of shape (n n_circles, 1); `rotation_invariant` is True.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer of at least 3, the radii are not positive numbers, or the number of labels does not
        fit them.

    Notes
    -----
    The corners are an (n − 1)-design on the circle: averages over them of polynomials of degree at most n − 1 equal
    those over the circle. See `icosahedron` for what follows from it.
    """
    n = checks.integer(n, "n", minimum=3)
    angle = 2 * np.pi * np.arange(n) / n
    return _spheres(np.column_stack([np.cos(angle), np.sin(angle)]), label, radii, f"polygon-{n}")


def _spheres(points: Float64Array, label: ArrayLike, radii: ArrayLike, name: str) -> Dataset:
    """Return unit vectors scaled to each radius in turn, with the label of that radius as target."""
    radius = checks.array(radii, "radii", ndim=1)
    if radius.size == 0 or (radius <= 0).any():
        raise ValueError(f"radii={checks.describe(radii)} is out of range; expected one or more numbers > 0")
    target = checks.array(label, "label", ndim=(0, 1))
    if target.ndim == 1 and target.shape != radius.shape:
        raise ValueError(f"label must be one number or one for each of the {len(radius)} radii, got {len(target)}")
    X = (radius[:, None, None] * points).reshape(-1, points.shape[1])
    y = np.repeat(np.broadcast_to(target, radius.shape), len(points))[:, None]
    return Dataset(X, y, name, rotation_invariant=True)
