"""Wrong values for one argument at a time of every public function: what is refused names the argument.

Each argument of each right call (calls.py) is replaced by each of `WRONG`; the call must then raise a ValueError or TypeError
whose message has the argument's name, or the value must be listed in `RIGHT` as one that is right.
"""

import inspect
import re

import numpy as np
import pytest
from calls import CALLS, MADE_BY_THE_LIBRARY, MODULES, SLOW, right_call

import noetherlite as nl

WRONG = {
    "None": None, "text": "x", "-1": -1, "0": 0, "nan": float("nan"), "inf": float("inf"), "True": True, "[]": [],
    "object": object(), "complex": 1j, "10**20": 10**20, "1.5": 1.5,
}  # fmt: skip

ANY_ARRAY = "-1 0 nan inf [] 1.5 axis+ row- with-nan"
POSITIVE, NOT_NEGATIVE, REAL = "10**20 1.5", "0 10**20 1.5", "-1 0 10**20 1.5"
# what is right for an argument of this name wherever it comes, and what is for one of a certain call
RIGHT = {
    "lr": POSITIVE, "weight_decay": NOT_NEGATIVE, "gamma": NOT_NEGATIVE, "alpha": NOT_NEGATIVE, "mass": NOT_NEGATIVE, "temperature": NOT_NEGATIVE,
    "separation": NOT_NEGATIVE, "noise": NOT_NEGATIVE, "turns": POSITIVE, "spectrum": "row-", "bias_std": NOT_NEGATIVE, "rtol": POSITIVE, "atol": POSITIVE, "spread": POSITIVE,
    "memory": POSITIVE, "momentum": "0", "smoothing": "0", "SAM.base": POSITIVE, "dampening": "0", "strength": REAL, "label": "-1 0 1.5", "U0": NOT_NEGATIVE,
    "rng": "None 0 [] 10**20", "steps": "0", "t0": "None " + NOT_NEGATIVE, "checkpoint_every": "None 1.5",
    "velocity": "None", "laws": "None []", "batch_size": "None", "batches": "None", "precision": "None", "networks": "None", "summands": "None 10**20",
    "n_threads": "None", "input_reduction": "None True", "callback": "None", "ax": "None", "views": "None", "draws": "None",
    "potential": "None", "sample_weight": "None", "observe": "None", "record_sharpness": "None", "resume.steps": "None", "class_weight": "None", "executor": "None", "key": "None text", "title": "None text", "order": "None", "like": "None",
    "averaging": "None 0", "state": "None", "following": "None", "theta": "None", "n_samples": "None", "data": "None",
    "dtype": "None", "X2": "None row-", "X1": "row-", "X": "None row-", "xi": "None", "t": "None", "batch": "None row-",
    "progress": "True", "record_params": "True", "minibatches": "True", "motion": "True", "summed": "True", "bias": "True",
    "peak": POSITIVE, "factor": POSITIVE, "warm_up": "0", "schedule.end": NOT_NEGATIVE, "schedule.every": "10**20", "rho": POSITIVE, "sam": NOT_NEGATIVE, "grad_accumulation": "10**20",
    "raise_on_broken": "True", "rotation_invariant": "True", "download": "True",
    "name": "text", "checkpoint": "None text", "out": "None text", "path": "text", "root": "None text", "folder": "text",
    "n": "None", "component": "0", "Network.widths": "row-", "Network.block.name": " ".join(WRONG),
    "Network.unpack.theta": "of-complex with-nan of-text", "ensemble.X0": "row-", "reference_flow.t": "row-",
    "two_layer_linear.t": "[] row-", "decoupled_modes.t": "[] row-", "decoupled_modes.singular_values": "[] row-",
    "modified_field.order": "0", "modified_gradient.order": "0", "sharpness_of_flow.w": "row-", "sharpness_of_flow.s": "10**20 1.5", "modified_flow.order": "0", "modified_flow.t": "row-", "relu_function_flow.t": "row-",
    "scalar_network.weights": "row-", "scalar_network.target": "10**20 1.5", "scale_invariant_norm.gradient_square": NOT_NEGATIVE,
    "CommitteeMachine.teacher_readout": "None", "CommitteeMachine.trained_readout": "True", "LogSumExp.A": "row-",
    "MatrixFactorization.target": "row-", "PhaseRetrieval.A": "of-complex", "TensorDecomposition.target": "axis+ row-",
    "initial_accumulator": NOT_NEGATIVE, "gradient_norm": POSITIVE, "Network.init.scale": POSITIVE, "Invariant.record.params": "row-", "Invariant.record.algorithm": "None", "clip": "None " + POSITIVE, "decoupled": "True", "nesterov": "True", "corrected": "True", "first_step_damped": "True",
    "momentum_buffer": "None", "exp_avg": "None", "exp_avg_sq": "None", "noise_key": "None 0",
    "memory.algorithm": "None", "SteepestDescent.p": POSITIVE, "anchor": "None", "Anchor.weight": "text", "Anchor.bias": "None text", "Anchor.ignored": "-1 0",
    "Averaging.beta": "0", "Averaging.weight": "None " + POSITIVE, "Averaging.decay": NOT_NEGATIVE,
    "arch.Dense.tied": "text", "positions_learned": "0", "kv_heads": "None", "arch.Attention.outputs": "None", "eps": NOT_NEGATIVE,
    "arch.Transformer.tied": "True", "arch.Transformer.norm": "None", "arch.MLP.gate": "None", "arch.MLP.widths": "row-",
    "causal": "True", "rope": "True", "tokens": "True", "qk_norm": "True", "gain": "True", "final_norm": "True", "residual": "True",
    "ntk.predict.t": "0 [] 1.5 row-", "predict_parameters.t": "0 [] 1.5 row-", "lagrangian.t": REAL, "lagrangian.path": "of-complex",
    "assert_gradient.x": "None", "scan.params": "-1 0 1.5", "scan.spread": "None", "bounds.t": "0 [] 1.5 axis+ row-",
    "Symmetry.x": "axis+", "Symmetry.v": "axis+", "Dynamics.t": ANY_ARRAY, "Dynamics.later": ANY_ARRAY,
    "Dynamics.v": ANY_ARRAY, "Dynamics.potential_value": ANY_ARRAY, "to_.theta": "with-nan",
}  # fmt: skip
ALSO_CALLED = {"data": "X", "what": "path", "averaging": "beta", "tree": "arrays", "layers": "arrays"}
FILES = ("path", "root", "what", "inputs", "targets")  # where a text is the name of a file that does not exist


def wrong_values(right):
    """WRONG, and for arrays of numbers: other shapes, masked, complex, with a NaN, of text."""
    yield from WRONG.items()
    try:
        a = np.asarray(right) if isinstance(right, np.ndarray | list | tuple) else np.empty(0)
    except ValueError:  # a sequence of several things
        return
    if a.size and a.dtype.kind in "fi":
        first = np.arange(a.size).reshape(a.shape) == 0
        yield "axis+", a[None, None, None]
        yield "row-", a[1:]
        yield "masked", np.ma.array(a, mask=first)
        yield "of-complex", a * 1j
        yield "with-nan", np.where(first, np.nan, a)
        yield "of-text", a.astype(str)


def is_right(call, argument, label):
    """Whether `RIGHT` has it: by the argument's name, or by that and the beginning of the call's."""
    return any(
        label in right.split()
        for key, right in RIGHT.items()
        if key == argument or (key.endswith(f".{argument}") and call.startswith(key.removesuffix(f".{argument}")))
    )


@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_argument_is_refused_by_its_name(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, arguments = right_call(call)
    faults = []
    for argument, right in arguments.items():
        # an array of another length may be refused by the one that it does not fit
        for label, value in wrong_values(right):
            if (call in SLOW and is_right(call, argument, label)) or (argument, label) == ("download", "True"):
                continue
            names = [argument, ALSO_CALLED.get(argument, argument)] + list(arguments) * (label in ("row-", "[]"))
            try:
                function(**{**arguments, argument: value})
            except (ValueError, TypeError) as error:
                if not any(re.search(rf"\b{re.escape(name)}\b", str(error)) for name in names):
                    faults.append(f"{argument}={label}: {type(error).__name__} without its name: {error}")
            except FileNotFoundError as error:
                if not (argument in FILES and label == "text") and call != "kmnist":
                    faults.append(f"{argument}={label}: {error!r}")
            except Exception as error:
                faults.append(f"{argument}={label}: {error!r}")
            else:
                if not is_right(call, argument, label):
                    faults.append(f"{argument}={label} is taken")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("module", MODULES)
def test_every_public_function_is_walked_with_every_argument(module):
    walked = {getattr(function, "__func__", function): set(arguments) for function, arguments in map(right_call, CALLS)}
    namespace = MODULES[module]
    names = getattr(namespace, "__all__", None) or [
        name for name, value in vars(namespace).items() if getattr(value, "__module__", "") == namespace.__name__
    ]
    for name in names:
        value = getattr(namespace, name)
        if name.startswith("_") or not callable(value) or name in MADE_BY_THE_LIBRARY:
            continue
        assert value in walked, f"{module}.{name} has no call in calls.py"
        parameters = inspect.signature(value).parameters.values()
        named = {parameter.name for parameter in parameters if parameter.kind not in (2, 4)}
        assert named <= walked[value], f"{module}.{name} is called without {sorted(named - walked[value])}"


def test_a_function_that_takes_anything_is_seen(monkeypatch, tmp_path):
    """Negative control: a function that takes anything, and one that fails within, are both found."""
    for open_door in (lambda lr: lr, lambda lr: [][lr]):
        monkeypatch.setitem(CALLS, "GD", lambda open_door=open_door: (open_door, {"lr": 0.1}))
        with pytest.raises(AssertionError, match="lr=object"):
            test_a_wrong_argument_is_refused_by_its_name("GD", tmp_path, monkeypatch)


def test_masks_are_not_dropped():
    """A number under a mask is none; an array whose mask hides nothing is taken."""
    hidden, bare = np.ma.array([1.0, 2.0], mask=[False, True]), np.ma.array([1.0, 2.0])
    for function in (nl.NAGF.friction, lambda t: nl.bounds.charge_bound(1.0, t)):
        with pytest.raises(ValueError, match="t must have no masked entries, got 1 of 2"):
            function(hidden)
        assert function(bare).tolist() == function([1.0, 2.0]).tolist()
