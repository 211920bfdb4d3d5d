"""Data sets drawn at random have the statistics that their documentation states, and IDX files are read or refused."""

import gzip
import math

import numpy as np
import pytest

from noetherlite import datasets

N = 20_000
SIX_SIGMA = 6 / math.sqrt(N)  # of the mean of numbers of variance 1


def idx_file(path, array, code, compress=False):
    head = bytes([0, 0, code, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    content = head + array.tobytes()
    path.write_bytes(gzip.compress(content) if compress else content)
    return path


def test_moons_are_half_circles():
    data = datasets.two_moons(501, noise=0.0, rng=0)
    upper, lower = data.X[data.y == 0], data.X[data.y == 1] - [1, 0.5]
    for half, sign in ((upper, 1), (lower, -1)):
        np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, rtol=1e-15)
        assert (sign * half[:, 1] >= 0).all()
    assert abs(len(upper) - len(lower)) == 1
    noisy = datasets.two_moons(N, noise=0.3, rng=0).X - datasets.two_moons(N, noise=0.0, rng=0).X
    assert noisy.std() == pytest.approx(0.3, rel=SIX_SIGMA)


def test_spirals_are_turned_into_each_other():
    data = datasets.spirals(N, n_classes=3, turns=0.75, noise=0.0, rng=0)
    radius = np.linalg.norm(data.X, axis=1)
    unwound = np.exp(-2j * np.pi * (0.75 * radius + data.y / 3)) * (data.X @ [1, 1j])
    np.testing.assert_allclose(unwound, radius, atol=1e-14)
    assert (radius**2).mean() == pytest.approx(0.5, abs=SIX_SIGMA)  # uniform in the disc
    assert np.bincount(data.y).tolist() == [6667, 6667, 6666]


def test_clusters_of_xor():
    data = datasets.xor_clusters(N, n_features=3, separation=4.0, rng=0)
    signs = data.X[:, :2] / 4
    for y, axis in ((0, 0), (1, 1)):
        of_class = signs[data.y == y]
        assert np.abs(of_class[:, axis]).mean() == pytest.approx(1, abs=SIX_SIGMA)
        assert of_class[:, axis].mean() == pytest.approx(0, abs=2 * SIX_SIGMA)  # the two clouds of a class cancel
        assert of_class[:, 1 - axis].mean() == pytest.approx(0, abs=SIX_SIGMA)
    assert data.X[:, 2].std() == pytest.approx(1, abs=SIX_SIGMA)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_parities_do_not_correlate_with_fewer_coordinates(k):
    data = datasets.sparse_parity(N, n_features=5, k=k, rng=0)
    assert set(np.unique(data.X)) == {-1, 1}
    parity = 1 - 2 * data.y
    np.testing.assert_array_equal(parity, data.X[:, :k].prod(axis=1))
    for subset in (data.X[:, : k - 1].prod(axis=1), np.roll(data.X, 1, axis=1)[:, :k].prod(axis=1)):
        assert abs((parity * subset).mean()) < SIX_SIGMA or k == 5
    if k == 5:  # all coordinates: rolled, they are the same
        assert (parity == np.roll(data.X, 1, axis=1).prod(axis=1)).all()


@pytest.mark.parametrize(("k", "r"), [(1, 1), (2, 1), (3, 1), (2, 4)])
def test_information_exponent(k, r):
    """Variance 1; no linear part for k > 1, no quadratic part for k = 3, a linear one for k = 1."""
    data = datasets.index_model(N, n_features=6, n_directions=r, link=k, rng=1)
    y = data.y[:, 0]
    assert y.mean() == pytest.approx(0, abs=SIX_SIGMA)
    assert (y**2).mean() == pytest.approx(1, abs=10 * SIX_SIGMA)  # the variance of He_3²/6 is 93
    linear = np.linalg.norm(data.X.T @ y / N)
    moment = data.X.T @ (y[:, None] * data.X) / N
    quadratic = np.linalg.norm(moment - y.mean() * np.eye(6)) / math.sqrt(2)
    assert linear == pytest.approx(float(k == 1), abs=6 * SIX_SIGMA)
    assert quadratic == pytest.approx(float(k == 2), abs=10 * SIX_SIGMA)
    if k == 2:
        assert (np.linalg.svd(moment)[1] > 0.3).sum() == r


def test_a_link_of_ones_own():
    data = datasets.index_model(50, n_features=4, n_directions=4, link=lambda z: (z**2).sum(axis=1), rng=0)
    np.testing.assert_allclose(data.y[:, 0], (data.X**2).sum(axis=1), rtol=1e-14)
    with pytest.raises(ValueError, match=r"link\(…\) must be 1-dimensional"):
        datasets.index_model(50, link=lambda z: z)


def test_a_spectrum_of_choice():
    spectrum = np.arange(1, 9.0) ** -1.5
    data = datasets.linear_regression(N, spectrum, noise=0.5, rng=0)
    eigenvalues = np.linalg.eigvalsh(data.X.T @ data.X / N)[::-1]
    np.testing.assert_allclose(eigenvalues, spectrum, rtol=10 * SIX_SIGMA)
    _, residual, *_ = np.linalg.lstsq(data.X, data.y[:, 0], rcond=None)
    assert math.sqrt(residual[0] / N) == pytest.approx(0.5, rel=SIX_SIGMA)
    assert not np.allclose(data.X.T @ data.X / N, np.diag(spectrum), atol=0.1)  # in a random basis
    for wrong in ([], [1.0, -0.1]):
        with pytest.raises(ValueError, match=r"spectrum=.*expected one or more numbers >= 0"):
            datasets.linear_regression(5, wrong)


def test_the_same_seed_draws_the_same():
    for name in ("two_moons", "spirals", "xor_clusters", "sparse_parity", "index_model", "linear_regression"):
        first, again, other = (getattr(datasets, name)(10, rng=seed) for seed in (3, 3, 4))
        np.testing.assert_array_equal(first.X, again.X)
        np.testing.assert_array_equal(first.y, again.y)
        assert not np.array_equal(first.X, other.X)


def test_idx_files(tmp_path):
    images = np.arange(24, dtype=np.uint8).reshape(3, 2, 4)
    labels = np.array([2, 0, 1], np.uint8)
    for compress in (False, True):
        X = idx_file(tmp_path / "mine.idx3", images, 0x08, compress)
        data = datasets.idx(X, idx_file(tmp_path / "labels", labels, 0x08, compress))
        np.testing.assert_array_equal(data.X, images.reshape(3, 8) / 255)
        np.testing.assert_array_equal(data.y, [2, 0, 1])
        assert data.name == "mine"
    for code, dtype in ((0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")):
        numbers = np.array([[1, -2], [3, 4], [-5, 6]], dtype)
        X, y = idx_file(tmp_path / "X", numbers, code), idx_file(tmp_path / "y", numbers.astype(">f4"), 0x0D)
        data = datasets.idx(X, y)
        np.testing.assert_array_equal(data.X, numbers)
        np.testing.assert_array_equal(data.y, numbers)


def test_idx_files_that_are_none(tmp_path):
    X = idx_file(tmp_path / "X", np.zeros((3, 2), np.uint8), 0x08)
    content = X.read_bytes()
    wrong = {
        b"": "is no IDX file",
        b"PK\3\4 and more": "is no IDX file",
        b"\0\0\x07" + content[3:]: "is no IDX file",
        content[:-1]: r"holds 17 bytes; its header, for an array of shape \(3, 2\), asks for 18",
        content + b"\0": "holds 19 bytes",
        gzip.compress(content)[:-9]: "is a damaged gzip file",
    }
    for bad, message in wrong.items():
        (tmp_path / "bad").write_bytes(bad)
        with pytest.raises(ValueError, match=message):
            datasets.idx(tmp_path / "bad", X)
    with pytest.raises(FileNotFoundError):
        datasets.idx(tmp_path / "absent", X)
    with pytest.raises(ValueError, match="one entry for each of the 3 rows"):
        datasets.idx(X, idx_file(tmp_path / "y", np.zeros(2, np.uint8), 0x08))
