"""One table of algorithms for all files: every kind of step and setting, at rates for a network of a dozen neurons."""

import dataclasses

import noetherlite as nl

RATES, DECAYS = {"W1": 0.02, "b1": 0.005, "rest": 0.01}, {"W1": 0.1, "b2": 0.3}
MOST, RHO = 0.1, 0.1  # the length of clipped gradients, and of SAM's ascent


def five(first, second, conformal=None, decay=0.0):
    """The five that the library began with, by name, each with its t0: rates of methods of first and of second order."""
    conformal = conformal or second
    return {
        "GD": (nl.GD(first, weight_decay=decay), None),
        "HeavyBall": (nl.HeavyBall(first, 0.5, 0.4, weight_decay=decay), None),
        "Leapfrog": (nl.Leapfrog(second, weight_decay=decay), None),
        "NAGD": (nl.NAGD(second, weight_decay=decay), None),
        "Conformal": (nl.ConformalLeapfrog(conformal, 2.0, 0.3, 1.0, weight_decay=decay), 0.5),
    }


def start(algorithm):
    """The option of a run that an infinite friction at t = 0 asks for."""
    return {"t0": 1.0} if algorithm.singular_start else {}


def warm_up(largest):
    """A schedule for runs of any length: up over ten steps, from 0, and slowly down."""
    return lambda k: largest * min(k / 10, 1) / (1 + k / 500)


OPTIMISERS = [
    nl.Adam(0.003), nl.Adam(0.003, (0.8, 0.99), 1e-6, weight_decay=0.1, decoupled=False), nl.Adam(0.003, weight_decay=0.1),
    nl.RMSProp(0.001, weight_decay=0.1), nl.AdaGrad(0.05, 0.1, weight_decay=0.1),
    nl.Nesterov(0.05, 0.9, weight_decay=0.1), nl.HeavyBall(0.05, 0.9, 0.5, first_step_damped=False, weight_decay=0.1),
    nl.Lion(0.001, weight_decay=0.1), nl.SignGD(0.001), nl.SignGD(0.001, 0.9, weight_decay=0.1),
    nl.SteepestDescent(0.003, 3.0, weight_decay=0.1),
    nl.ExponentiatedGradient(0.01, weight_decay=0.1), nl.ExponentiatedGradient(0.01, 0.9),
]  # fmt: skip
MUON = [nl.Muon(0.003), nl.Muon(0.003, 0.5, nesterov=False, weight_decay=0.1), nl.Muon(0.003, corrected=False)]
NOISY = [
    nl.SGLD(0.01, 0.05), nl.SGLD(0.01, 0.05, weight_decay=0.1), nl.SGLD(lambda k: 0.01 / (1 + k / 500), 0.05),
    nl.BAOAB(0.01, 0.05, 0.3, 2.0), nl.BAOAB(0.01, 0.05, 0.3, 2.0, weight_decay=0.1), nl.BAOAB(lambda k: 0.01 / (1 + k / 500), 0.05, 0.3, 2.0),
    nl.SGLD({"W1": 0.005, "b1": 0.002, "rest": 0.01}, 0.05, weight_decay=0.1),
    nl.BAOAB({"W1": 0.005, "b1": 0.002, "rest": 0.01}, 0.05, 0.3, 2.0, weight_decay={"W2": 0.1}),
]  # fmt: skip
INTEGRATORS = [
    nl.Yoshida(0.01), nl.Yoshida(0.01, 6, weight_decay=0.1), nl.Yoshida(0.01, 4, mass=2.0, gamma=0.3, alpha=1.0, weight_decay=0.1),
    nl.ImplicitMidpoint(0.05), nl.ImplicitMidpoint(0.05, iterations=2, weight_decay=0.1),
    nl.ImplicitMidpoint(0.01, "ND"), nl.ImplicitMidpoint(0.01, "ND", iterations=2, weight_decay=0.1),
    nl.RK4(0.05), nl.RK4(0.05, weight_decay=0.1), nl.ProjectedGD(0.05), nl.ProjectedGD(0.05, weight_decay=0.1),
]  # fmt: skip
BLOCKS = [  # the first seven are PyTorch's too
    nl.GD(RATES, weight_decay=DECAYS), nl.HeavyBall(RATES, 0.9, 0.5, first_step_damped=False, weight_decay=DECAYS, clip=0.2),
    nl.Nesterov(RATES, 0.8, weight_decay=DECAYS), nl.Adam(RATES, weight_decay=DECAYS, decoupled=False), nl.Adam(RATES, weight_decay=DECAYS),
    nl.RMSProp(RATES, weight_decay=DECAYS), nl.AdaGrad(RATES, 0.1),
    nl.Lion(RATES, weight_decay=DECAYS), nl.SignGD(RATES, 0.5), nl.SteepestDescent(RATES, 3.0, weight_decay=DECAYS),
    nl.ExponentiatedGradient(RATES, 0.5, weight_decay=DECAYS), nl.RK4(RATES, weight_decay=DECAYS), nl.ProjectedGD(RATES, weight_decay=DECAYS),
    nl.Leapfrog(RATES, weight_decay=DECAYS), nl.NAGD(RATES, weight_decay=DECAYS), nl.ConformalLeapfrog(RATES, mass=2.0, gamma=0.5, weight_decay=DECAYS),
]  # fmt: skip
CLIPPED = [
    nl.GD(0.1, weight_decay=0.1, clip=MOST), nl.HeavyBall(0.05, 0.9, clip=MOST), nl.Adam(0.003, clip=MOST),
    nl.Nesterov(0.05, weight_decay=0.1, clip=MOST), nl.NAGD(0.01, clip=MOST), nl.Leapfrog(0.01, clip=MOST),
]  # fmt: skip
ACCUMULATED = [
    kind(lr, grad_accumulation=3) for kind, lr in ((nl.GD, 0.1), (nl.Adam, 0.01), (nl.NAGD, 0.01), (nl.Leapfrog, 0.01))
]
UPHILL = [
    nl.SAM(base, RHO)
    for base in (
        nl.GD(0.1), nl.GD(0.1, weight_decay=0.1), nl.HeavyBall(0.05, 0.9, 0.5, weight_decay=0.1, clip=0.2), nl.Nesterov(0.05, weight_decay=0.1),
        nl.Adam(0.003, weight_decay=0.1, decoupled=False), nl.Adam(0.003, weight_decay=0.1), nl.RMSProp(0.001), nl.AdaGrad(0.05, 0.1),
        nl.Lion(0.001, weight_decay=0.1), nl.SignGD(0.001, 0.5, weight_decay=0.1),
    )
]  # fmt: skip
UPHILL_BY_BLOCK = [
    nl.SAM(dataclasses.replace(base, grad_accumulation=3), RHO)
    for base in (
        nl.GD({"W1": 0.02, "rest": 0.05}, weight_decay={"W1": 0.1, "b2": 0.3}),
        nl.HeavyBall({"W1": 0.01, "rest": 0.02}, 0.9, 0.5, weight_decay=0.1, clip=0.2),
        nl.Nesterov({"W1": 0.01, "rest": 0.02}, 0.8),
        nl.Adam({"W1": 0.003, "rest": 0.001}, weight_decay={"W1": 0.1}),
        nl.Adam({"W1": 0.003, "rest": 0.001}, weight_decay=0.1, decoupled=False),
    )
]
