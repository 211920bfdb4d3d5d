"""Reports: what they say, that nothing of a file gets out of its place, and how a real browser shows them."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

import noetherlite as nl
from noetherlite._page_plots import _MOST_POINTS, _thinned
from noetherlite._page_style import SCRIPT
from noetherlite.cli import main

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
    for said in (
        "NAGD on 4–6–3",
        "completed 200 steps",
        "scaling:1",
        "translation:W",
        "batch_key",
        "numpy",
        "nl.integrate(U",
    ):
        assert said in seen
    assert "(|w_i|² + b_i² − |u_i|²)" in seen
    assert "broken" not in seen
    assert page.count("<figure") == 2 + len(run.laws)  # loss and energy
    assert len(page) < 120_000


def test_a_law_that_is_broken_is_said_so(run):
    law = run.laws["scaling:1"]
    spoilt = nl.LawRecord(
        *(getattr(law, f) for f in ("name", "t", "quantity", "charge", "source_integral", "residual")),
        law.discrete_residual + 1e-8,
    )
    import dataclasses

    page = nl.report(dataclasses.replace(run, laws={**run.laws, "scaling:1": spoilt}))
    assert page.count('<td class="broken">') == 1


def test_an_ensemble(ensemble):
    page = nl.report(ensemble, title="Rates")
    seen = text_of(page)
    for said in ("Rates", "4 completed", "median", "smallest", "largest", "nl.ensemble(U"):
        assert said in seen
    curves = json.loads(html.unescape(re.search(r'data-curves="([^"]*)"', page)[1]))["curves"]
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
    curves = json.loads(html.unescape(re.search(r'data-curves="([^"]*)"', page)[1]))["curves"]
    assert curves[0]["x"] == [0.1, 0.2, 0.3]


def test_thinned_curves_keep_their_extremes():
    x = np.arange(10_000.0)
    y = np.random.default_rng(0).standard_normal(x.size)
    kept = _thinned(y)
    kept_x, kept_y = x[kept], y[kept]
    assert kept_x.size <= _MOST_POINTS
    assert (kept_x[0], kept_x[-1]) == (0, 9999)
    assert (kept_y.min(), kept_y.max()) == (y.min(), y.max())
    assert (np.diff(kept_x) > 0).all()


# --- what files cannot do ---


def hostile(run, tmp_path):
    """The run's file, with markup wherever a file has text."""
    saved = run.save(tmp_path / "run.npz")
    with np.load(saved) as data:
        held = {name: data[name] for name in data.files}
    header = json.loads(str(held["header"]))

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
    held = {key.replace(f"laws/{name}/", f"laws/{EVIL}/"): a for key, a in held.items()}
    held["header"] = np.array(json.dumps(header))
    np.savez(saved, **held)
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
    with pytest.raises(TypeError, match="what must be a Trajectory, a Sweep or a path"):
        nl.report(3)
    with pytest.raises(FileNotFoundError):
        nl.report(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"bad\.npz"):
        nl.report(tmp_path / "bad.npz")


def test_the_verb(run, tmp_path, capsys):
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
    for name, page in (
        ("run", nl.report(hostile(run, tmp_path), title="Mine")),
        ("sweep", nl.report(sweep, title="Mine")),
    ):
        path = tmp_path / f"{name}.html"
        path.write_text(page, "utf-8")
        document, console, asked = opened(path, tmp_path)
        assert "<title>Mine</title>" in document  # no script of the file's ran
        assert console == []
        assert asked == set()


@pytest.mark.docs
def test_the_control_of_the_browser(run, tmp_path):
    """A page that does what reports must not is seen to do it."""
    path = tmp_path / "bad.html"
    bad = "<script>console.error('seen'); document.title = 'owned'</script><img src='http://example.invalid/x.png'>"
    path.write_text(f"<!doctype html><title>Mine</title><body>{bad}", "utf-8")
    document, console, asked = opened(path, tmp_path)
    assert "<title>owned</title>" in document
    assert any("seen" in line for line in console)
    assert asked == {"example.invalid"}


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
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    document, _, _ = opened(frame, tmp_path, "--allow-file-access-from-files", *scheme)
    wide, inner, values, colour = html.unescape(re.search(r"<title>(.*?)</title>", document)[1]).split("|")
    assert int(wide) <= int(inner) <= 390
    assert re.fullmatch(r"t [\d.]+: run [\d.]+", values)
    assert (sum(map(int, re.findall(r"\d+", colour)[:3])) < 200) == dark
