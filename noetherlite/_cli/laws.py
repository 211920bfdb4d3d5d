"""The verb laws: the conserved quantities of a network and a dynamics, with their symmetries."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .._base import checks
from .._motion import dynamics
from .._motion.dynamics import Dynamics
from .._problem.network import Network
from .._symmetry.catalogue import catalogue
from .._symmetry.time_translation import Time
from . import say

if TYPE_CHECKING:
    from .._symmetry.formulas import Law

FLOWS = {d.name.lower(): d for d in (dynamics.GF, dynamics.ND, dynamics.NAGF)}
# Laws are counted up to this number P of parameters: the time grows as P³, to a few seconds here.
_MOST_COUNTED = 1000


def add(verbs: Any) -> None:
    """Add the verb."""
    parser = say.verb(
        verbs,
        "laws",
        _run,
        help="say what a network's training conserves, and why",
        examples="--widths 784,128,10 --activation relu --dynamics nagf\n--widths 3,4,4,2 --activation linear,swish --loss mse\n"
        "--widths 2,3,2 --activation linear --no-bias --dynamics 1,0.5,0 --json\n"
        "--model gpt2",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", metavar="NAME", help="gpt2 or llama-7b: how many laws it has, by formula")
    what.add_argument("--table", action="store_true", help="count the laws of today's architectures, in some seconds")
    network_flags(parser, what)
    dynamics_flag(parser, usual="gf")


def network_flags(parser: argparse.ArgumentParser, choice: Any = None) -> None:
    """Add the flags that describe a network, its widths to the group `choice` of alternatives if there is one."""
    (choice or parser).add_argument("--widths", metavar="N,N,…", help="inputs, hidden layers, outputs")
    parser.add_argument(
        "--activation", metavar="NAME[,NAME…]", help="one for all hidden layers, or one each (default: relu)"
    )
    parser.add_argument("--no-bias", action="store_true", help="no layer has a bias")
    parser.add_argument("--loss", help="nll (default) or mse")


def network_flags_given(options: argparse.Namespace) -> list[str]:
    """Return the flags of `network_flags` that were given."""
    return [
        f"--{name.replace('_', '-')}" for name in ("widths", "activation", "no_bias", "loss") if getattr(options, name)
    ]


def dynamics_flag(parser: argparse.ArgumentParser, usual: str = "") -> None:
    """Add the flag that names a dynamics; without it the option is None, and `usual` is the one that the verb then takes."""
    parser.add_argument(
        "--dynamics",
        metavar="NAME",
        type=_parse_dynamics,
        help=f"gf, nd, nagf, or m,γ,α of m ẍ + (γ + α/t) ẋ + ∇U = 0{f' (default: {usual})' if usual else ''}",
    )


def network(options: argparse.Namespace) -> Network:
    """Return the network that the flags describe."""
    with say.judging_arguments():
        widths = [_parse_width(n) for n in options.widths.split(",")]
        activation = (options.activation or "relu").split(",")
        return Network(
            widths, activation[0] if len(activation) == 1 else activation, not options.no_bias, options.loss or "nll"
        )


def _parse_width(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f"--widths: {checks.describe(text)} is no whole number; expected them with commas between, for example "
            "784,128,10"
        ) from None


def _parse_dynamics(text: str) -> Dynamics:
    """Return the dynamics that --dynamics names."""
    named = FLOWS.get(text.lower())
    if named is not None:
        return named
    try:
        mass, gamma, alpha = (float(part) for part in text.split(","))
    except ValueError:
        hint = checks.suggestion(text, FLOWS)
        raise argparse.ArgumentTypeError(f"{text!r} is not known{hint}; expected gf, nd, nagf, or m,γ,α") from None
    try:
        return Dynamics(mass, gamma, alpha)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(options: argparse.Namespace) -> int:
    from . import laws_of_models  # of which most runs need nothing

    if options.widths is None and (flags := network_flags_given(options)):
        raise say.UsageError(f"{flags[0]} describes a network: expected --widths beside it")
    if options.table:
        if options.dynamics:
            raise say.UsageError("--table counts under the flow that each row names: expected no --dynamics")
        return laws_of_models.print_table(options)
    flow = options.dynamics or dynamics.GF
    return laws_of_models.count_known(options, _flow(flow)) if options.model else _say_laws(options, flow)


def _flow(dynamics: Dynamics) -> str:
    return "momentum" if dynamics.mass > 0 else "gradient"


def _say_laws(options: argparse.Namespace, flow: Dynamics) -> int:
    from .._symmetry.formulas import law

    net = network(options)
    entries, absent = [], {}
    for s in catalogue(net):
        if s.objection:
            absent[s.name] = s.objection
        else:
            entries.append(_law_entry(s.name, s.action(), s.n_generators, law(s, flow)))
            if s.condition:
                entries[-1]["if"] = s.condition
    entries.append(_law_entry("time", Time.action(), 1, law("time", flow)))
    report = {
        "network": net.specification(),
        "dynamics": {"name": flow.name, "mass": flow.mass, "gamma": flow.gamma, "alpha": flow.alpha},
        "laws": entries,
        "not symmetries": absent,
        "independent": _count_laws(net, flow),
    }
    say.result(options, report, "\n".join(_lines(report)))
    return say.FINE


def _law_entry(name: str, action: str, components: int, law: Law) -> dict[str, Any]:
    return {
        "name": name,
        "symmetry": action,
        "components": components,
        "law": law.formula(),
        "latex": law.latex,
        "source": law.source,
    }


def _count_laws(net: Network, flow: Dynamics) -> dict[str, Any]:
    """Return the number of independent laws for every data set, or the reason why they were not counted."""
    from .._theory.counting import count_laws

    if net.n_params > _MOST_COUNTED:
        return {
            "why not": f"the network has {net.n_params} parameters, more than the {_MOST_COUNTED} that are counted here"
        }
    try:
        count = count_laws(net, _flow(flow), rng=0)
    except ValueError as error:
        return {"why not": str(error)}
    return {
        "count": count.count,
        "known": count.lower,
        "certified": count.certified,
        "assumption": count.assumption,
        "method": count.method,
    }


def _lines(report: dict[str, Any]) -> Iterator[str]:
    for entry in report["laws"]:
        yield f"{entry['name']}: {entry['symmetry']}"
        if "if" in entry:
            yield f"  if {entry['if']}"
        n = entry["components"]
        yield f"  {entry['law']}    ({n} component{'s' if n > 1 else ''}; {entry['source']})"
    yield from (f"no {name}: {reason}" for name, reason in report["not symmetries"].items())
    count = report["independent"]
    if "count" in count:
        yield f"independent laws for every data set, energy aside: {count['count']} ({count['method']})"
    else:
        yield f"independent laws: not counted, as {count['why not']}"
