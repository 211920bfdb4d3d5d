"""Reports: what they say, that nothing of a file gets out of its place, and how a real browser shows them."""

import base64
import dataclasses
import hashlib
import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

import noetherlite as nl
from noetherlite._cli.main import main
from noetherlite._show.page_plots import _MOST_POINTS, _thinned
from noetherlite._show.page_style import SCRIPT
from noetherlite._symmetry.discrete import exact_law, legend

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def problem():
    net = nl.Network([4, 6, 3], "relu")
    return net, net.potential(nl.datasets.gaussian_classes(n=40, n_features=4, n_classes=3, rng=0))


@pytest.fixture(scope="module")
def run():
    net, U = problem()
    return nl.integrate(U, nl.NAGD(1e-2), net.init(rng=0), 200, record_every=2, batch_size=7, rng=0)


@pytest.fixture(scope="module")
def ensemble():
    net, U = problem()
    algorithms = [nl.GD(0.01 * (e + 1)) for e in range(4)]
    return nl.ensemble(U, algorithms, np.stack([net.init(rng=e) for e in range(4)]), 50)


def train(lr, rng):
    if lr > 1:
        raise ValueError(f"lr={lr} is no rate {EVIL}")
    return {"loss": 1 / lr, "tag": EVIL}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    nl.sweep(train, {"lr": [0.1, 0.3, 0.2, 5.0]}, out=folder)
    return folder


def text_of(page):
    body = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", " ", body))


# --- what it says ---


def test_a_run(run, tmp_path):
    page = nl.report(run)
    assert page == nl.report(run.save(tmp_path / "run"))
    seen = text_of(page)
    words = (
        "NAGD on 4–6–3",
        "completed 200 steps",
        "scaling:1",
        "translation:W",
        "batch_key",
        "numpy",
        "nl.integrate(U",
    )
    for said in (*words, "(|w_i|² + b_i² − |u_i|²)"):
        assert said in seen
    # The law that the verdict is about, beside it.
    assert "J_{k+1} = β_kJ_k + h(⟨Gv_{k+1}, v_{k+1}⟩ + β_k²⟨Gv_k, v_k⟩ − β_k⟨Gv_k, v_{k+1}⟩)" in seen
    assert seen.count("J_{k+1} = β_kJ_k") == len(run.laws)
    assert page.count('<td class="holds">') == len(run.laws)
    assert "broken" not in seen
    assert "Not checked: " in seen
    assert page.count("<figure") == 2 + len(run.laws)  # loss and energy
    assert len(page) < 120_000


def plots_of(page):
    """The plotted curves by the caption of their plot."""
    figures = re.findall(r'<figure data-curves="(.*?)"><figcaption>(.*?)</figcaption>', page)
    return {html.unescape(name): json.loads(html.unescape(data)) for data, name in figures}


def test_what_was_observed(run):
    net, U = problem()
    functions = {
        "size": np.linalg.norm,
        "rows of W2": lambda x: net.unpack(x)["W2"],
        "singular values": lambda x: np.linalg.svd(net.unpack(x)["W1"])[1],
    }
    options = {"record_every": 5, "record_sharpness": 2, "observe": functions}
    watched = nl.integrate(U, nl.GD(0.5), net.init(rng=0), 20, **options)
    page = nl.report(watched)
    assert "Observed" in text_of(page)
    drawn = plots_of(page)
    sharpness = {c["label"]: c["y"] for c in drawn["sharpness"]["curves"]}
    assert list(sharpness) == ["sharpness[0]", "sharpness[1]", "2/η"]
    np.testing.assert_allclose(sharpness["sharpness[0]"], watched.observed["sharpness"][:, 0], rtol=1e-5)
    assert set(sharpness["2/η"]) == {4.0}
    assert [c["label"] for c in drawn["rows of W2"]["curves"]] == ["median", "smallest", "largest"]  # of 18 components
    largest = watched.observed["rows of W2"].max(axis=(1, 2))
    np.testing.assert_allclose(drawn["rows of W2"]["curves"][2]["y"], largest, rtol=1e-5)
    assert len(drawn["singular values"]["curves"]) == 4
    assert f"{watched.observed['size'][-1]:.4g}" in text_of(page)
    moving = nl.integrate(U, nl.Leapfrog(0.1), net.init(rng=0), 5, record_sharpness=1)
    # 2/η is of gradient descent
    assert [c["label"] for c in plots_of(nl.report(moving))["sharpness"]["curves"]] == ["run"]
    assert "Observed" not in text_of(nl.report(run))
    assert plots_of(nl.report(run))["Loss"]["xlabel"] == "t"


def test_what_an_ensemble_observed():
    net, U = problem()
    X0 = np.stack([net.init(rng=e) for e in range(3)])
    runs = nl.ensemble(U, [nl.GD(0.1 * (e + 1)) for e in range(3)], X0, 8, observe={"size": np.linalg.norm})
    drawn = plots_of(nl.report(runs))["size"]
    assert drawn["xlabel"] == "step"  # times differ
    np.testing.assert_allclose(drawn["curves"][0]["y"], np.median(runs.observed["size"], axis=0), rtol=1e-5)
    np.testing.assert_allclose(drawn["curves"][0]["x"], runs.step[0])


def test_a_law_that_is_broken_is_said_so(run):
    law = run.laws["scaling:1"]
    spoilt = dataclasses.replace(law, discrete_residual=law.discrete_residual + 1e-8)
    page = nl.report(dataclasses.replace(run, laws={**run.laws, "scaling:1": spoilt}))
    assert page.count('<td class="broken">') == 1


def large_inputs():
    """Products of numbers of 255, of which quantities of order one are left."""
    net = nl.Network([784, 32, 16, 10])
    data = nl.datasets.glyphs(n=60, rng=0)
    return nl.integrate(net.potential(data.X * 255, data.y), nl.GD(0.05), net.init(rng=0), 500, record_every=50)


def large_targets():
    net = nl.Network([3, 4, 2], "relu", loss="mse")
    rng = np.random.default_rng(0)
    U = net.potential(rng.normal(size=(20, 3)), 1e5 * rng.normal(size=(20, 2)))
    return nl.integrate(U, nl.GD(1e-8), net.init(rng=0), 100)


def late_start():
    """The integrating factor t³ is 2.7e4 at the start: charges of order one are residuals of that size."""
    net, U = problem()
    return nl.integrate(U, nl.ConformalLeapfrog(2.5e-3, alpha=3), net.init(rng=0), 200, t0=30.0)


@pytest.mark.parametrize("make", [late_start, pytest.param(large_inputs, marks=pytest.mark.needs_jit), large_targets])
def test_correct_runs_of_any_scale_are_not_called_broken(make):
    run = make()
    page = nl.report(run)
    assert page.count('<td class="holds">') == len(run.laws) > 0
    # negative control: a residual as large as the terms of the law
    name, law = next(iter(run.laws.items()))
    spoilt = dataclasses.replace(law, discrete_residual=law.scale)
    assert '<td class="broken">' in nl.report(dataclasses.replace(run, laws={name: spoilt}))


def test_what_was_not_tested_is_said():
    net, U = problem()
    page = nl.report(nl.integrate(U, nl.GD(0.1), net.init(rng=0), 0))
    assert page.count('<td class="undecided">not decidable</td>') == 3
    assert "not tested" in text_of(page)
    page = nl.report(nl.integrate(U, nl.GD(0.1), net.init(rng=0), 5, laws=["scaling:1"]))
    assert "Not watched in this run: translation:b, translation:W." in text_of(page)
    assert "nothing was checked" in text_of(nl.report(nl.integrate(U, nl.GD(0.1), net.init(rng=0), 5, laws=None)))


@pytest.mark.parametrize(
    ("algorithm", "name", "formula"),
    [
        (nl.GD(0.1), "scaling:1", "Q_{k+1} − Q_k = ½η²⟨∇U, G∇U⟩"),
        (nl.GD(0.1), "translation:b", "Q_{k+1} − Q_k = 0"),
        (nl.GD(0.1, weight_decay=0.1), "scaling:1", "Q_{k+1} − Q_k = ½η²⟨d, Gd⟩ − ηλ⟨g(x_k), x_k⟩"),
        (nl.HeavyBall(0.1), "scaling:1", "J_{k+1} = βJ_k + h⟨Gv, v⟩"),
        (nl.Leapfrog(0.1), "linear:1", "J_{k+1} − J_k = h⟨Gv, v⟩"),
        (nl.Leapfrog(0.1), "rotation", "J_{k+1} − J_k = 0"),
        (nl.NAGD(0.1), "translation:W", "J_{k+1} = β_kJ_k"),
        (nl.ConformalLeapfrog(0.1, gamma=1), "scaling:1", "μ(t_{k+1})J_{k+1} − μ(t_k)J_k = μ(τ)h⟨Gv, v⟩"),
        (nl.ConformalLeapfrog(0.1, gamma=1), "rotation", "μ(t_{k+1})J_{k+1} − μ(t_k)J_k = 0"),
        (
            nl.Leapfrog(0.1, weight_decay=0.1),
            "translation:b",
            "J_{k+1} − J_k = (−(h/2)λ(⟨g(x_k), x_k⟩ + ⟨g(x_{k+1}), x_{k+1}⟩))",
        ),
    ],
)
def test_exact_laws(algorithm, name, formula):
    assert exact_law(name, algorithm) == formula


def test_the_exact_laws_letters_are_explained_and_plain():
    conformal = nl.ConformalLeapfrog(0.1, alpha=3, weight_decay=0.2)
    for algorithm in (nl.GD(0.1), nl.HeavyBall(0.1), nl.NAGD(0.1), conformal):
        for name in ("scaling:1", "translation:b", "rotation", "mine"):
            text = exact_law(name, algorithm, has_quantity=name != "rotation")
            assert not re.search(r"[\\$]", text)
            for letter in set(re.findall("[ηβλhQJ]", text)):
                assert letter in legend(algorithm)


def test_an_ensemble(ensemble):
    page = nl.report(ensemble, title="Rates")
    seen = text_of(page)
    for said in ("Rates", "4 completed", "median", "smallest", "largest", "nl.ensemble(U"):
        assert said in seen
    curves = curves_of(page)[0]["curves"]
    assert [c["label"] for c in curves] == ["median", "smallest", "largest"]
    np.testing.assert_allclose(curves[2]["y"], ensemble.loss.max(axis=0)[: len(curves[2]["y"])], rtol=1e-5)


def test_other_potentials_and_runs_that_diverge():
    page = nl.report(nl.integrate(nl.potentials.Radial(2), nl.Leapfrog(1e-3), [1.4, 0.1], 20))
    assert "radial in 2 dimensions" in text_of(page)
    net, U = problem()
    page = nl.report(nl.integrate(U, nl.GD(1e8), net.init(rng=0), 60))
    assert "the loss stopped being finite" in text_of(page)
    page = nl.report(nl.integrate(U, nl.GD(0.1), net.init(rng=0), 0, laws=None))
    assert "completed 0 steps" in text_of(page)


def test_a_sweep(sweep):
    page = nl.report(sweep)
    assert page == nl.report(nl.load_sweep(sweep))
    seen = text_of(page)
    assert "Failures" in seen
    assert "lr=5.0 is no rate" in seen
    (curve,) = curves_of(page)[0]["curves"]
    assert curve["x"] == [0.1, 0.2, 0.3]


def curves_of(page):
    return [json.loads(html.unescape(data)) for data in re.findall(r'data-curves="([^"]*)"', page)]


def measure(lr, width, seed, rng):
    return {"loss": lr * width * (1 + seed), "status": "completed"}


def test_numbers_at_the_ends_of_a_doubles_range():
    """Their range is no double."""
    page = nl.report(nl.sweep(lambda a, rng: {"x": 1.7e308 * a, "y": 2.0 * a}, {"a": [-1, 1]}))
    assert "1.7e+308" in page
    assert page.count("<figure") == 1


def test_sweeps_are_drawn_by_their_seeds():
    """Rates in any order and over decades, two widths, three seeds: means and extremes of the seeds, a curve a width."""
    page = nl.report(nl.sweep(measure, {"seed": [0, 1, 2], "width": [4, 8], "lr": [0.1, 1e-3, 0.01]}))
    drawn = {figure["xlabel"]: figure["curves"] for figure in curves_of(page)}
    assert set(drawn) == {"lr", "width"}  # nothing against seeds
    four, eight = drawn["lr"]
    assert (four["label"], eight["label"]) == ("width = 4", "width = 8")
    assert four["x"] == [1e-3, 0.01, 0.1]  # once each, in order
    np.testing.assert_allclose([four["low"], four["y"], four["high"]], np.outer([4, 8, 12], four["x"]))
    # a logarithmic axis: places are rounded
    np.testing.assert_allclose(np.diff(four["px"]), np.diff(four["px"])[0], atol=0.11)
    assert "The same in all members: status = completed." in text_of(page)
    assert "<th" in page
    assert "<td>completed</td>" not in page


def test_thinned_curves_keep_their_extremes():
    y = np.random.default_rng(0).standard_normal(10_000)
    indices = _thinned(y)
    assert indices.size <= _MOST_POINTS
    assert (indices[0], indices[-1]) == (0, 9999)
    assert (np.diff(indices) > 0).all()
    assert (y[indices].min(), y[indices].max()) == (y.min(), y.max())


# --- what files cannot do ---


def hostile(run, tmp_path):
    """The run's file, with markup wherever a file has text."""
    saved = run.save(tmp_path / "run.npz")
    with np.load(saved) as data:
        saved_arrays = {name: data[name] for name in data.files}
    header = json.loads(str(saved_arrays["header"]))

    def spoil(value):
        if isinstance(value, dict):
            return {key + EVIL: spoil(item) for key, item in value.items()}
        return [spoil(item) for item in value] if isinstance(value, list) else EVIL if isinstance(value, str) else value

    header["message"] = EVIL
    header["specification"] = {
        **header["specification"],
        "command": EVIL, "configuration": EVIL, "versions": spoil(header["specification"]["versions"]), EVIL: EVIL,
    }  # fmt: skip
    header["specification"]["potential"]["dataset"] = EVIL
    name = header["laws"][0]
    header["laws"][0] = EVIL
    saved_arrays = {key.replace(f"laws/{name}/", f"laws/{EVIL}/"): a for key, a in saved_arrays.items()}
    saved_arrays["header"] = np.array(json.dumps(header))
    np.savez(saved, **saved_arrays)
    return saved


def test_markup_in_files_is_text(run, sweep, tmp_path):
    for page in (nl.report(hostile(run, tmp_path), title=EVIL), nl.report(sweep)):
        assert "<img" not in page
        assert page.count("<script>") == 1
        assert EVIL in text_of(page)


def test_only_the_pages_own_script_may_run(run):
    page = nl.report(run)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert SCRIPT in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)


def test_bad_input(tmp_path):
    with pytest.raises(TypeError, match="what must be a Trajectory, a Sweep, a Watch or a path"):
        nl.report(3)
    with pytest.raises(FileNotFoundError):
        nl.report(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"bad\.npz"):
        nl.report(tmp_path / "bad.npz")


def test_the_command(run, tmp_path, capsys):
    saved = run.save(tmp_path / "run.npz")
    assert main(["report", str(saved)]) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'run.html'}\n"
    assert main(["report", str(saved), "-o", str(tmp_path / "page.html"), "--json", "--title", "A & B"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == [str(tmp_path / "page.html")]
    assert "<h1>A &amp; B</h1>" in (tmp_path / "page.html").read_text("utf-8")
    assert main(["report", str(tmp_path / "none.npz")]) == 1


# --- in a browser ---

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def opened(path, tmp_path, *options):
    """The document after its scripts ran, what the browser's console said, and what it asked the network for."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium here: apt-get install chromium")
    log = tmp_path / "net.json"
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
        f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}", "--enable-logging=stderr", "--v=0",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=3000", *options, "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    hosts = re.findall(r'"url":"https?://([^/":]*)', log.read_text("utf-8", "replace"))
    # All names lead nowhere here; those that Chromium looks for by itself, whatever the page, are its maker's.
    return done.stdout, console, {h for h in hosts if not h.endswith((".google.com", ".googleapis.com", ".gvt1.com"))}


@pytest.mark.docs
def test_in_a_browser(run, sweep, tmp_path):
    for what in (hostile(run, tmp_path), sweep):
        path = tmp_path / "page.html"
        path.write_text(nl.report(what, title="Mine"), "utf-8")
        document, console, asked = opened(path, tmp_path)
        assert "<title>Mine</title>" in document  # no script of the file's ran
        assert console == []
        assert asked == set()


@pytest.mark.docs
def test_the_browser_sees_scripts_and_requests(run, tmp_path):
    """A page that does what reports must not is seen to do it."""
    path = tmp_path / "bad.html"
    bad = "<script>console.error('seen'); document.title = 'owned'</script><img src='http://example.invalid/x.png'>"
    path.write_text(f"<!doctype html><title>Mine</title><body>{bad}", "utf-8")
    document, console, asked = opened(path, tmp_path)
    assert "<title>owned</title>" in document
    assert any("seen" in line for line in console)
    assert asked == {"example.invalid"}


DARK = ["--blink-settings=preferredColorScheme=0"]
WIDTHS = (390, 1024, 1152, 1366, 1920)  # a phone, small and large screens
PROBE = """
const move = new PointerEvent("pointermove", {clientX: 200, clientY: 100, bubbles: true});
document.querySelector("svg.plot").dispatchEvent(move);
document.title = [document.documentElement.scrollWidth, innerWidth, document.querySelector(".values").textContent,
  getComputedStyle(document.body).backgroundColor].join("|");
"""


@pytest.mark.docs
@pytest.mark.parametrize("dark", [False, True])
def test_pointer_width_and_darkness(run, tmp_path, dark):
    """On a phone: nothing wider than the screen; the values under the pointer; the colours that the system asks for."""
    page = nl.report(run)
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)  # else the probe would not run
    path = tmp_path / "page.html"
    path.write_text(free.replace("</body>", f"<script>{PROBE}</script></body>"), "utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<!doctype html><iframe src="{path.as_uri()}" width="390" height="800"></iframe>'
        "<script>onload = () => { document.title = frames[0].document.title }</script>", "utf-8",
    )  # fmt: skip
    scheme = DARK if dark else []
    document, _, _ = opened(frame, tmp_path, "--allow-file-access-from-files", *scheme)
    wide, inner, values, colour = html.unescape(re.search(r"<title>(.*?)</title>", document)[1]).split("|")
    assert int(wide) <= int(inner) <= 390
    assert re.fullmatch(r"t [\d.]+: run [\d.]+", values)
    assert (sum(map(int, re.findall(r"\d+", colour)[:3])) < 200) == dark


MEASURE = """
onload = () => {
  document.title = JSON.stringify([...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument;
    const cells = [...page.querySelectorAll("td.holds, td.broken, td.undecided")];
    return [Number(frame.width), page.documentElement.scrollWidth, Math.max(0, ...cells.map(c => c.getBoundingClientRect().right)),
            getComputedStyle(page.body).backgroundColor];
  }));
};
"""


@pytest.mark.docs
@pytest.mark.parametrize("dark", [False, True])
def test_pages_fit_their_window_and_verdicts_are_on_it(run, ensemble, sweep, tmp_path, dark):
    wide = "<!doctype html><body><div style='width: 3000px'><table><tr><td style='padding-left: 2500px' class='holds'>x</table>"
    pages = [nl.report(run), nl.report(ensemble), nl.report(sweep), wide]
    for i, page in enumerate(pages):
        (tmp_path / f"{i}.html").write_text(page, "utf-8")
    frames = "".join(
        f'<iframe src="{i}.html" width="{w}" height="800"></iframe>' for i in range(len(pages)) for w in WIDTHS
    )
    (tmp_path / "frames.html").write_text(f"<!doctype html>{frames}<script>{MEASURE}</script>", "utf-8")
    scheme = DARK if dark else []
    document, _, _ = opened(tmp_path / "frames.html", tmp_path, "--allow-file-access-from-files", *scheme)
    measured = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", document)[1]))
    *seen, controls = (measured[i : i + len(WIDTHS)] for i in range(0, len(measured), len(WIDTHS)))
    for i, rows in enumerate(seen):
        for width, whole, verdict, colour in rows:
            assert whole <= width
            assert verdict <= width
            assert (verdict > 0) == (i < 2)  # runs have verdicts, sweeps none
            assert (sum(map(int, re.findall(r"\d+", colour)[:3])) < 200) == dark
    assert all(whole > width and verdict > width for width, whole, verdict, _ in controls)
