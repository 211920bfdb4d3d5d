"""A run that is killed -9 twenty times, also in the middle of writing its checkpoint, ends where it would have ended."""

import os
import subprocess
import sys

import numpy as np
import pytest
from test_checkpoint import STEPS, assert_same, problem

import noetherlite as nl

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills children that it forks"),
    pytest.mark.needs_jit,
]

# One process that has compiled everything forks twenty, one after the other, each of which goes on from what the one before
# it left. Thirteen are killed, seven at a random moment and six (odd k) at one after their first new checkpoint, so that the run
# gets on however slow the machine is; the others kill themselves inside the writing of a checkpoint.
SCRIPT = """
import os, random, signal, sys, time
import numpy as np
import noetherlite as nl
from noetherlite._run import checkpoint_file

path, what, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
steps = int(sys.argv[4])
random.seed(seed)
net = nl.Network([4, 6, 3], "swish")
U = net.potential(nl.datasets.gaussian_classes(n=40, n_features=4, n_classes=3, rng=0))
options = {"record_every": 4, "batch_size": 7, "rng": 1}

def start(**more):
    if what == "ensemble":
        X0 = np.stack([net.init(rng=e) for e in range(5)])
        return nl.ensemble(U, nl.NAGD(1e-2), X0, steps, n_threads=1, **options, **more)
    return nl.integrate(U, nl.NAGD(1e-2), net.init(rng=0), steps, n_threads=1, **options, **more)

start()  # compiles

def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)

def plant(name, calls):
    # dies at the call of that number: before a file is flushed, before its name is changed, or once it is half written
    left = [calls]
    owner = checkpoint_file.np if name == "savez" else os
    real = getattr(owner, name)
    def wrapper(*arguments, **named):
        left[0] -= 1
        if left[0] == 0:
            if name == "savez":
                arguments[0].write(b"half of a file")
                arguments[0].flush()
            die()
        return real(*arguments, **named)
    setattr(owner, name, wrapper)

def reached():
    if not os.path.exists(path):
        return -1
    header, arrays = checkpoint_file.read(checkpoint_file.Path(path))
    return int(arrays["state/counts"][:, 0].sum())

planted = ["fsync", "replace", "link", "savez", "fsync", "replace", "savez"]
killed = 0
for k in range(20):
    before = reached()
    child = os.fork()
    if child == 0:
        if k % 3 == 2 or k == 19:
            plant(planted.pop(), random.randrange(2, 12))
        try:
            if os.path.exists(path):
                nl.resume(path, checkpoint_every=1, n_threads=1)
            else:
                start(checkpoint=path, checkpoint_every=1)
        finally:
            os._exit(0)
    if k % 3 == 2 or k == 19:
        planted.pop()
    else:
        while k % 2 and reached() == before:
            time.sleep(0.001)
        time.sleep(random.uniform(0.0, 0.06))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    killed += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if os.path.exists(path):
        print(reached())
print("killed", killed)
"""


@pytest.mark.parametrize("what", ["single", "ensemble"])
@pytest.mark.slow
def test_twenty_kills(tmp_path, what):
    path, steps = tmp_path / "run.npz", 40 * STEPS
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path), what, "5", str(steps)],
        capture_output=True, text=True, timeout=300, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *reached, killed = done.stdout.split("\n")[:-1]
    assert killed == "killed 20"
    reached = [int(n) for n in reached]
    assert reached == sorted(reached)  # nothing that was saved was lost
    net, U = problem()
    options = {"record_every": 4, "batch_size": 7, "rng": 1}
    if what == "single":
        whole = nl.integrate(U, nl.NAGD(1e-2), net.init(rng=0), steps, **options)
        assert 20 < reached[-1] < steps
    else:
        whole = nl.ensemble(U, nl.NAGD(1e-2), np.stack([net.init(rng=e) for e in range(5)]), steps, **options)
        assert 20 < reached[-1] < 5 * steps
    assert_same(nl.resume(path, checkpoint_every=60.0), whole)
    assert sorted(os.listdir(tmp_path)) == ["run.npz", "run.previous.npz"]  # what the killed ones left is gone
