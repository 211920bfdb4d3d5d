"""Training loops of PyTorch, right and wrong, as people write them: what `check` says of each."""

import itertools

import numpy as np
import pytest
from loops import (
    BROKEN,
    HOLDS,
    LR,
    NET,
    STEPS,
    TARGETS,
    THETA,
    U_SQUARES,
    U_TANH,
    UNDECIDED,
    WIDTHS,
    N,
    X,
    Y,
    hold,
    in_order,
    loop,
    shuffled,
    table,
)  # fmt: skip

import noetherlite as nl

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.needs_jit  # a few hundred thousand gradients of samples
F = torch.nn.functional
SGD = torch.optim.SGD
torch.set_num_threads(1)  # of so small products more threads make slower ones


def mlp(dtype=torch.float64, between=(), activation=torch.nn.ReLU):
    """The network with THETA in it; `between` follows the activation."""
    linear = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(WIDTHS)]
    model = torch.nn.Sequential(linear[0], activation(), *between, linear[1]).double()
    state = nl.convert.to_torch(NET, THETA, order=["0", f"{2 + len(between)}"])
    model.load_state_dict({name: torch.from_numpy(a) for name, a in state.items()}, strict=False)
    return model.to(dtype)


def evaluated_norm():
    """A frozen BatchNorm in evaluation mode, with running statistics of other data."""
    norm = torch.nn.BatchNorm1d(WIDTHS[1])
    norm.running_mean.copy_(torch.linspace(-0.3, 0.5, WIDTHS[1]))
    norm.running_var.copy_(torch.linspace(0.5, 2.0, WIDTHS[1]))
    return norm.eval().requires_grad_(False)


def snapshot(model):
    """θ of the linear layers, whatever is between them."""
    state = {name: a for name, a in model.named_parameters() if a.ndim == 2 or f"{name[:-4]}weight" in WEIGHTS(model)}
    return nl.convert.from_torch(NET, state)


def WEIGHTS(model):
    return {name for name, a in model.named_parameters() if a.ndim == 2}


def mean(model, x, y):
    return F.cross_entropy(model(x), y)


def train(
    loss=mean,
    optimiser=lambda p: SGD(p, lr=LR),
    model=mlp,
    backward=lambda loss: loss.backward(),
    before=lambda model, k: None,
    after=lambda model, k: None,
    zero=lambda optimiser, k: optimiser.zero_grad(),
    schedule=None,
    batches=None,
    targets=Y,
    steps=STEPS,
    record=snapshot,
    rows=lambda rows: rows,
    parameters=lambda model: model.parameters(),
    prepared=lambda optimiser: None,
):
    """Return the recorded parameters (R, P) of a loop; every argument is a line of it that somebody writes otherwise."""
    torch.manual_seed(0)
    made = model()
    opt = optimiser(parameters(made))
    prepared(opt)
    scheduler = schedule(opt) if schedule else None
    dtype = next(made.parameters()).dtype
    x, y = torch.from_numpy(X).to(dtype), torch.from_numpy(targets)
    y = y.to(dtype) if y.is_floating_point() else y
    out = [record(made)]
    for k in range(steps):
        rows_k = slice(None) if batches is None else torch.from_numpy(batches[k])
        zero(opt, k)
        backward(loss(made, x[rows_k], y[rows_k]))
        before(made, k)
        opt.step()
        after(made, k)
        if scheduler:
            scheduler.step()
        out.append(record(made))
    return np.stack(rows(out))


# --- what loops do otherwise ------------------------------------------------------------------------------------------


def times(factor):
    def scale(model, k):
        for p in model.parameters():
            p.grad *= factor

    return scale  # fmt: skip


def clipped(size):
    return lambda model, k: torch.nn.utils.clip_grad_norm_(model.parameters(), size)


def grad(name, change):
    return lambda model, k: change(model.get_parameter(name).grad)


def noisy(model, k):
    for p in model.parameters():
        p.grad += 0.1 * torch.randn_like(p)


def accumulated(divide):
    def backward_in_four(model, x, y):
        parts = [F.cross_entropy(model(x[i::4]), y[i::4]) for i in range(4)]
        for part in parts[:-1]:
            (part / 4 if divide else part).backward()
        return parts[-1] / 4 if divide else parts[-1]

    return backward_in_four  # fmt: skip


def twice(loss):
    loss.backward(retain_graph=True)
    loss.backward()


def autocast(model, x, y):
    with torch.autocast("cpu", torch.bfloat16):
        return F.cross_entropy(model(x), y)


def detached(model, x, y):
    return F.cross_entropy(model[2](model[1](model[0](x)).detach()), y)


def checkpointed(model, x, y):
    from torch.utils.checkpoint import checkpoint

    return F.cross_entropy(checkpoint(model, x, use_reentrant=False), y)


def per_sample(model, x, y):
    each = torch.func.vmap(
        lambda xi, yi: F.cross_entropy(torch.func.functional_call(model, dict(model.named_parameters()), xi), yi)
    )
    return each(x, y).mean()


def l2(decay):
    return lambda model, x, y: mean(model, x, y) + decay / 2 * sum((p**2).sum() for p in model.parameters())


def with_l1(model, x, y):
    return mean(model, x, y) + 1e-2 * sum(p.abs().sum() for p in model.parameters())


def frozen(model):
    model[0].requires_grad_(False)
    return [p for p in model.parameters() if p.requires_grad]


def weights_only(model):
    return [p for name, p in model.named_parameters() if name.endswith("weight")]


def groups(**last):
    return lambda model: [{"params": list(model[0].parameters())}, {"params": list(model[2].parameters()), **last}]


def decay_of_weights(model):
    return [{"params": weights_only(model), "weight_decay": 0.05},
            {"params": [p for name, p in model.named_parameters() if name.endswith("bias")]}]  # fmt: skip


class Averages:
    """An exponential moving average of the weights, recorded in their place."""

    def __init__(self, decay):
        self.decay = decay

    def __call__(self, model):
        self.mean = (
            snapshot(model)
            if not hasattr(self, "mean")
            else self.decay * self.mean + (1 - self.decay) * snapshot(model)
        )
        return self.mean


class Means:
    """The mean of all weights so far, as of `torch.optim.swa_utils`, recorded in their place."""

    def __init__(self):
        self.all = []

    def __call__(self, model):
        self.all.append(snapshot(model))
        return np.mean(self.all, axis=0)


def projected(model, k):
    with torch.no_grad():
        model[2].weight *= 1 / max(1.0, float(model[2].weight.norm()))


def at_rest(optimiser):
    """Momentum buffers of zero, so that the first step is damped as all others."""
    for group in optimiser.param_groups:
        for p in group["params"]:
            optimiser.state[p]["momentum_buffer"] = torch.zeros_like(p)


def single(model):
    return snapshot(model).astype(np.float32)


def repeated(k):
    return lambda rows: [*rows[: k + 1], *rows[k:]]


def missing(k):
    return lambda rows: [*rows[:k], *rows[k + 1 :]]


def lambda_lr(factor):
    return lambda opt: torch.optim.lr_scheduler.LambdaLR(opt, factor)


WARM_UP = lambda_lr(lambda k: min(1.0, (k + 1) / 10))
HALVED = lambda opt: torch.optim.lr_scheduler.StepLR(opt, 10, 0.5)  # noqa: E731
COSINE = lambda opt: torch.optim.lr_scheduler.CosineAnnealingLR(opt, STEPS)  # noqa: E731
HEAVY = lambda **options: lambda p: SGD(p, lr=LR, momentum=0.9, **options)  # noqa: E731
SMALL, UNEVEN = shuffled(6), shuffled(7, drop_last=False)
WARM_TIMES = np.concatenate([[0.0], np.cumsum([LR * min(1.0, (k + 1) / 10) for k in range(STEPS)])])


def mse(mean):
    return {"U": U_SQUARES, "targets": TARGETS, "loss": lambda model, x, y: mean(model(x), y)}


RIGHT = [
    loop("full batch", HOLDS),
    loop("float32", HOLDS, model=lambda: mlp(torch.float32)),
    loop("float64 recorded as float32", HOLDS, record=single),
    loop("foreach", HOLDS, optimiser=lambda p: SGD(p, lr=LR, foreach=True)),
    loop("gradients of samples, averaged", HOLDS, loss=per_sample),
    loop("checkpointed activations", HOLDS, loss=checkpointed),
    loop("accumulated over four parts", HOLDS, loss=accumulated(True)),
    loop("clipping that never clips", HOLDS, before=clipped(1e3)),
    loop("dropout in eval mode", HOLDS, model=lambda: mlp(between=[torch.nn.Dropout(0.2)]).eval()),
    loop("momentum", HOLDS, "", nl.HeavyBall(LR, 0.9), optimiser=HEAVY()),
    loop("momentum in float32", HOLDS, "", nl.HeavyBall(LR, 0.9), optimiser=HEAVY(), model=lambda: mlp(torch.float32)),
    loop("dampening of all steps", HOLDS, "", nl.HeavyBall(LR, 0.9, 0.5), optimiser=HEAVY(dampening=0.5), prepared=at_rest),
    loop("weight decay", HOLDS, "", nl.GD(LR, weight_decay=0.05), optimiser=lambda p: SGD(p, lr=LR, weight_decay=0.05)),
    loop("weight decay and momentum", HOLDS, "", nl.HeavyBall(LR, 0.9, weight_decay=0.05), optimiser=HEAVY(weight_decay=0.05)),
    loop("weight decay in the loss", HOLDS, "", nl.GD(LR, weight_decay=0.05), loss=l2(0.05)),
    loop("MSE: half the sum over outputs", HOLDS, **mse(lambda f, y: 0.5 * ((f - y) ** 2).sum(1).mean())),
    loop("MSELoss with its rate", HOLDS, **mse(F.mse_loss), optimiser=lambda p: SGD(p, lr=LR * WIDTHS[-1] / 2)),
    loop("MSELoss in float32 with its rate", HOLDS, **mse(F.mse_loss), optimiser=lambda p: SGD(p, lr=LR * WIDTHS[-1] / 2), model=lambda: mlp(torch.float32)),
    loop("minibatches with their indices", HOLDS, check={"batches": SMALL}, batches=SMALL),
    loop("minibatches of two sizes", HOLDS, check={"batches": UNEVEN}, batches=UNEVEN),
    loop("minibatches in order", HOLDS, check={"batches": in_order(6)}, batches=in_order(6)),
    loop("minibatches in float32", HOLDS, check={"batches": SMALL}, batches=SMALL, model=lambda: mlp(torch.float32)),
    loop("minibatches and momentum", HOLDS, "", nl.HeavyBall(LR, 0.9), check={"batches": SMALL}, batches=SMALL, optimiser=HEAVY()),
    loop("every fifth step", HOLDS, check={"every": 5}, rows=lambda rows: rows[::5]),
    loop("every fifth step of minibatches", HOLDS, check={"every": 5, "batches": SMALL}, batches=SMALL, rows=lambda rows: rows[::5]),
    loop("minibatches, only laws", HOLDS, "motion|gradient", check={"minibatches": True}, batches=SMALL),
    loop("warm-up, its times against the flow", HOLDS, "", nl.GF, check={"t": WARM_TIMES / 20},
         schedule=WARM_UP, optimiser=lambda p: SGD(p, lr=LR / 20)),
    loop("momentum, the record begins after the first step", HOLDS, "", nl.HeavyBall(LR, 0.9), check={"t": LR * np.arange(1, STEPS + 1)},
         optimiser=HEAVY(), rows=missing(0)),
    loop("bfloat16 parameters", UNDECIDED, "round-off", model=lambda: mlp(torch.bfloat16)),
    loop("autocast, declared", HOLDS, "", check={"precision": "autocast"}, loss=autocast, model=lambda: mlp(torch.float32)),
]  # fmt: skip

ADAPTIVE = "in every entry.*adaptive optimiser"
OTHER = "every law holds, as with minibatches .* or with other data"
WRONG = [
    # scales
    loop("reduction='sum'", BROKEN, rf"every block moves {N} times", loss=lambda m, x, y: F.cross_entropy(m(x), y, reduction="sum")),
    loop("accumulated, not divided", BROKEN, "every block moves 4 times", loss=accumulated(False)),
    loop("backward twice", BROKEN, "every block moves 2 times", backward=twice),
    loop("a scale of the loss that is not undone", BROKEN, "every block moves 1024 times",
         loss=lambda m, x, y: 1024 * mean(m, x, y), optimiser=lambda p: SGD(p, lr=1e-4), against=nl.GD(1e-4)),
    loop("maximised", BROKEN, "every block moves -1 times", optimiser=lambda p: SGD(p, lr=LR, maximize=True)),
    loop("another rate", BROKEN, r"every block moves 0\.5 times", optimiser=lambda p: SGD(p, lr=LR / 2)),
    loop("a rate off in the seventh digit", BROKEN, r"1\.000001", optimiser=lambda p: SGD(p, lr=LR * (1 + 1e-6))),
    loop("MSELoss: mean over entries", BROKEN, r"0\.6667 times.*2/3.*outputs", **mse(F.mse_loss)),
    loop("MSELoss, summed", BROKEN, rf"{2 * N} times", nl.GD(LR / 100),
         **mse(lambda f, y: F.mse_loss(f, y, reduction="sum")), optimiser=lambda p: SGD(p, lr=LR / 100)),
    loop("minibatches divided by all samples", BROKEN, r"every block moves 0\.25 times", check={"batches": SMALL},
         batches=SMALL, loss=lambda m, x, y: F.cross_entropy(m(x), y, reduction="sum") / N),
    # rates that change, and clipping
    loop("halved every ten steps", BROKEN, "right direction.*schedule", schedule=HALVED),
    loop("cosine", BROKEN, "right direction.*schedule", schedule=COSINE),
    loop("warm-up", BROKEN, "right direction.*schedule", schedule=WARM_UP),
    loop("clipped by norm", BROKEN, r"gradients longer than 0\.3 are clipped", before=clipped(0.3)),
    loop("clipped by value", BROKEN, r"entries of the gradient beyond 0\.1 are clipped", before=lambda m, k: torch.nn.utils.clip_grad_value_(m.parameters(), 0.1)),
    loop("clipped to norm one always", BROKEN, "right direction.*normalised", before=lambda m, k: times(1 / float(torch.cat([p.grad.ravel() for p in m.parameters()]).norm()))(m, k)),
    # optimisers
    loop("momentum, untold", BROKEN, r"momentum of 0\.9, where 0", optimiser=HEAVY()),
    loop("undamped first step", HOLDS, "first step was not checked.*PyTorch leaves the dampening out", nl.HeavyBall(LR, 0.9, 0.5), optimiser=HEAVY(dampening=0.5)),
    loop("momentum, the record begins after the first step, untold", HOLDS, "first step was not checked", nl.HeavyBall(LR, 0.9),
         optimiser=HEAVY(), rows=missing(0)),
    loop("Nesterov for gradient descent", BROKEN, r"Nesterov's momentum of 0\.9", optimiser=HEAVY(nesterov=True)),
    loop("Nesterov for a heavy ball", BROKEN, r"Nesterov's momentum of 0\.9", nl.HeavyBall(LR, 0.9), optimiser=HEAVY(nesterov=True)),
    loop("Adam", BROKEN, ADAPTIVE, optimiser=lambda p: torch.optim.Adam(p, lr=LR)),
    loop("AdamW", BROKEN, ADAPTIVE, optimiser=lambda p: torch.optim.AdamW(p, lr=LR)),
    loop("RMSprop", BROKEN, ADAPTIVE, optimiser=lambda p: torch.optim.RMSprop(p, lr=0.01)),
    loop("RMSprop, recorded from its tenth step", BROKEN, "rate of its own.*adaptive",
         optimiser=lambda p: torch.optim.RMSprop(p, lr=0.01), rows=lambda rows: rows[10:]),
    loop("Adagrad", BROKEN, ADAPTIVE, optimiser=lambda p: torch.optim.Adagrad(p, lr=LR)),
    loop("signs of the gradient", BROKEN, ADAPTIVE, before=lambda m, k: [p.grad.sign_() for p in m.parameters()]),
    loop("weight decay, untold", BROKEN, r"weight decay of 0\.05 that is not declared", optimiser=lambda p: SGD(p, lr=LR, weight_decay=0.05)),
    loop("weight decay and momentum, untold", BROKEN, r"weight decay of 0\.05 that is not declared", nl.HeavyBall(LR, 0.9), optimiser=HEAVY(weight_decay=0.05)),
    loop("weight decay of weights only, untold", BROKEN, r"weight decay of 0\.05 that is not declared", parameters=decay_of_weights),
    loop("weight decay of weights only, told of all", BROKEN, "b1, b2 have no weight decay", nl.GD(LR, weight_decay=0.05), parameters=decay_of_weights),
    loop("weight decay told, not done", BROKEN, r"no weight decay, where 0\.05", nl.GD(LR, weight_decay=0.05)),
    loop("L1", BROKEN, r"an L1 penalty of 0\.01 times", loss=with_l1),
    loop("L1 and weight decay", BROKEN, r"weight decay of 0\.05 .* and an L1 penalty of 0\.01", loss=with_l1, optimiser=lambda p: SGD(p, lr=LR, weight_decay=0.05)),
    loop("zero_grad missing", BROKEN, "momentum of 1, where 0", zero=lambda opt, k: None, optimiser=lambda p: SGD(p, lr=LR / 10), against=nl.GD(LR / 10)),
    # another loss
    loop("label smoothing", BROKEN, OTHER, loss=lambda m, x, y: F.cross_entropy(m(x), y, label_smoothing=0.1)),
    loop("class weights", BROKEN, OTHER, loss=lambda m, x, y: F.cross_entropy(m(x), y, torch.tensor([1.0, 2.0, 0.5]).to(x))),
    loop("softmax twice", BROKEN, OTHER, loss=lambda m, x, y: F.cross_entropy(m(x).softmax(1), y)),
    loop("shuffled labels", BROKEN, OTHER, targets=Y[::-1].copy()),
    loop("normalised inputs", BROKEN, OTHER, loss=lambda m, x, y: mean(m, x / 2, y)),
    loop("noise on the inputs", BROKEN, OTHER, loss=lambda m, x, y: mean(m, x + 0.1 * torch.randn_like(x), y)),
    loop("noise on the gradient", BROKEN, "W1 does not move along", before=noisy),
    loop("dropout", BROKEN, OTHER, model=lambda: mlp(between=[torch.nn.Dropout(0.2)])),
    loop("batch normalisation", BROKEN, "no step changes the length of any neuron's weights in W1", model=lambda: mlp(between=[torch.nn.BatchNorm1d(WIDTHS[1])])),
    loop("batch normalisation in evaluation mode", BROKEN, "batch normalisation in evaluation mode", model=lambda: mlp(between=[evaluated_norm()])),
    loop("layer normalisation", BROKEN, "length of W1 with its biases .*layer normalisation", model=lambda: mlp(between=[torch.nn.LayerNorm(WIDTHS[1], eps=1e-9)])),
    loop("minibatches, untold", BROKEN, OTHER, batches=SMALL),
    loop("minibatches in order, untold", BROKEN, OTHER, batches=in_order(6)),
    loop("minibatches where no law is, untold", BROKEN, "every step is along the gradient of 6 of the 24 samples", batches=SMALL,
         **mse(lambda f, y: 0.5 * ((f - y) ** 2).sum(1).mean()) | {"U": U_TANH}, model=lambda: mlp(activation=torch.nn.Tanh)),
    loop("minibatches, indices of the batch before", BROKEN, "batches are one step off", check={"batches": [SMALL[-1], *SMALL[:-1]]}, batches=SMALL),
    loop("minibatches, indices of another shuffling", BROKEN, "indices of other batches", check={"batches": shuffled(6, seed=1)}, batches=SMALL),
    loop("autocast", BROKEN, "bfloat16.*precision=.autocast", loss=autocast, model=lambda: mlp(torch.float32)),
    # blocks
    loop("a frozen layer", BROKEN, "W1 does not move", parameters=frozen),
    loop("a detached layer", BROKEN, "W1 does not move", loss=detached),
    loop("biases not given to the optimiser", BROKEN, "b1 does not move", parameters=weights_only),
    loop("another rate for a group", BROKEN, "W2 moves 3 times", parameters=groups(lr=3 * LR)),
    loop("a hook that halves", BROKEN, r"b1 moves 0\.5 times", before=grad("0.bias", lambda g: g.mul_(0.5))),
    loop("a neuron's bias dropped", BROKEN, "b1", before=grad("0.bias", lambda g: g[2].zero_())),
    loop("one weight's gradient of the wrong sign", BROKEN, r"^W2\[1, 3\] moves -1 times", before=grad("2.weight", lambda g: g[1, 3].neg_())),
    loop("weights kept inside a ball", BROKEN, "W2 does not move along", after=projected),
    # records
    loop("the average of the weights is recorded", BROKEN, r"running averages of the parameters with a decay of 0\.9,", record=Averages(0.9)),
    loop("the mean of all weights so far is recorded", BROKEN, "rows are means of all parameters so far", record=Means()),
    loop("snapshots that are one array", BROKEN, "all rows are equal.*copied", rows=lambda rows: [rows[-1]] * len(rows)),
    loop("a row twice", BROKEN, "row 13 repeats the row before", rows=repeated(12)),
    loop("a row missing", BROKEN, "a row is missing after row 11", rows=missing(12)),
    loop("rows in reversed order", BROKEN, "W1 does not move along", rows=lambda rows: rows[::-1]),
    loop("every second step, untold", BROKEN, "rows are 2 steps apart, not 1: every=2", rows=lambda rows: rows[::2]),
    loop("every fifth step of a heavy ball, untold", BROKEN, "rows are 5 steps apart, not 1: every=5", nl.HeavyBall(LR, 0.9), optimiser=HEAVY(), rows=lambda rows: rows[::5]),
    loop("every second step, told to be five", BROKEN, "rows are 2 steps apart, not 5: every=2", check={"every": 5}, rows=lambda rows: rows[::2]),
]  # fmt: skip


@table(RIGHT + WRONG)
def test_a_loop_has_the_verdict_of_its_row(loop):
    hold(loop, train(**loop.train))
