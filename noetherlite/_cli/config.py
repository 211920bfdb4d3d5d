"""Configuration files: TOML in, checked objects out, with every error of the file in one list.

What a section may hold is read from the signature of what it makes: [network] is `Network(…)`, [data] a function of `datasets` and the weights
of `Network.potential`,
[algorithm] one of `ALGORITHMS`, [run] the arguments of `integrate` or `ensemble`. Their own checks judge the values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from .._base import checks
from .._base.files import arrays
from .._base.limits import refuse_beyond_memory
from .._base.types import Array
from .._motion.algorithms import ALGORITHMS, ELSEWHERE
from .._motion.base import Algorithm
from .._problem import datasets, drawn
from .._problem.network import Network, NetworkPotential
from .._problem.potentials import Potential, Radial
from .._run import plan
from .._run.checkpoint import interval
from .._run.ensemble import ensemble
from .._run.integrate import integrate
from .._run.memory import memory
from .._run.observe import SHARPNESS
from .._symmetry.find import watched
from . import rates
from .signatures import call, keys, printable, shown, unknown
from .toml_file import PATHS, WEIGHTS, ConfigError, read

SECTIONS = ("network", "data", "initial", "algorithm", "run", "output", "sweep")
SOURCES: dict[str, Callable[..., Any]] = {
    name: getattr(module, name) for module in (datasets, drawn) for name in module.__all__
}
PLOTS = ("loss", "energy", "residuals")
# Not allowed in a configuration, which may come from others: folders of this machine, and downloads.
NOT_IN_DATA = ("root", "download")
# Arguments that come from the other sections or from the command line.
NOT_IN_RUN = (
    "U",
    "algorithm",
    "x0",
    "X0",
    "velocity",
    "callback",
    "observe",
    "progress",
    "on_divergence",
    "checkpoint",
)
# The key of [run] that is no argument of `ensemble`: the number of networks, each with its own initial parameters.
MEMBERS = {"members": Parameter("members", Parameter.KEYWORD_ONLY, default=None, annotation=int | None)}
_PROBLEM_KEYS = ("laws", "batch_size", "input_reduction", "record_sharpness")
_MOST_MEMBERS = 1_000_000


@dataclass(frozen=True)
class Output:
    """The section [output].

    Parameters
    ----------
    name : str
        Stem of the file names: letters, digits, "_" and "-", so that it cannot name another folder.
    plots : sequence of str
        "loss", "energy", "residuals", names of laws, and "sharpness" where [run] has record_sharpness.
    """

    name: str = "run"
    plots: Sequence[str] = ("loss",)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w-]{0,99}", self.name):
            raise ValueError(f"name={checks.describe(self.name)}: expected up to 100 letters, digits, '_' and '-'")

    def check(self, laws: Sequence[str], several: bool) -> None:
        """Raise a ValueError for a plot that a run with these laws and observables, or an ensemble, does not have."""
        choices = PLOTS[:1] if several else [*PLOTS, *laws]
        for i, plot in enumerate(self.plots):
            checks.one_of(plot, f"plots[{i}]", choices)


@dataclass(frozen=True)
class Job:
    """A run that is ready to start."""

    U: NetworkPotential  # the potential
    algorithm: Algorithm | list[Algorithm]  # one, or one for each network of an ensemble
    start: Array  # shape (P,) or (E, P): initial parameters; two axes for an ensemble
    arguments: dict[str, Any]  # further arguments of `integrate` or `ensemble`
    laws: list[str]  # names of the laws that it watches
    output: Output  # the section [output]
    n_bytes: int  # memory that the run will hold


@dataclass
class Config:
    """A configuration file."""

    path: Path  # the file
    errors: list[str] = field(default_factory=list)  # its errors: section, key, value and what is expected
    content: Mapping[str, Any] | None = None  # its content, if it has been read already

    def __post_init__(self) -> None:
        self._sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
        for name, values in (read(self.path) if self.content is None else self.content).items():
            if name not in SECTIONS:
                self.errors.append(unknown(f"[{name}]", name, SECTIONS, "section"))
            elif not isinstance(values, dict):
                self.errors.append(f"{name} = {shown(values)}: expected a section [{name}]")
            else:
                self._sections[name] = values

    def finish(self) -> None:
        """Raise a ConfigError if there was any error."""
        if self.errors:
            raise ConfigError("\n".join(f"{self.path}: {printable(error)}" for error in self.errors))

    def problem(self) -> tuple[NetworkPotential | None, list[Algorithm]]:
        """Return the potential that [network] and [data] make, and the algorithms: one for each learning rate.

        After an error the potential is None or the list empty; `finish` raises the errors.
        """
        network = self._make("network", Network)
        data = self._make_selected("data", "source", SOURCES, NOT_IN_DATA, WEIGHTS)
        weights = self._weights()
        U = None
        if network is not None and data is not None and weights is not None:
            try:
                U = network.potential(data, **weights)
            except (ValueError, TypeError) as error:
                self.errors.append(f"[data] and [network] do not fit: {error}")
        algorithms = self._algorithms()
        self.errors += rates.objections(algorithms, U)
        return U, algorithms

    @property
    def minibatches(self) -> bool:
        """Whether [run] asks for minibatches."""
        return "batch_size" in self._sections["run"]

    def job(self) -> Job:
        """Return the run that the file describes, or raise ConfigError with every error of the file."""
        U, algorithms = self.problem()
        networks = self._networks(len(algorithms))
        planned = self._plan(U, algorithms, networks)
        started = self._start(None if planned is None else U, algorithms, networks)
        laws = None if U is None or planned is None else planned.laws
        sharpness = [SHARPNESS] if "record_sharpness" in self._sections["run"] else []
        output = self._output(None if laws is None else [*laws, *sharpness], networks is not None)
        self.finish()
        assert U  # `finish` has raised if it is missing
        assert planned
        assert started
        assert output
        x, velocity = started
        arguments = {"rng": 0, **planned.arguments, "velocity": velocity}
        return Job(
            U, algorithms if len(algorithms) > 1 else algorithms[0], x, arguments, planned.laws, output, planned.n_bytes
        )

    # --- sections --------------------------------------------------------------------------------------------------

    def _make(
        self,
        section: str,
        function: Callable[..., Any],
        allowed: dict[str, Parameter] | None = None,
        skip: Iterable[str] = (),
    ) -> Any:
        """Return function(**keys of the section except `skip`), or None after adding their errors.

        The keys `allowed` are by default the parameters of the function.
        """
        values = {key: value for key, value in self._sections[section].items() if key not in skip}
        result, errors = call(function, values, keys(function) if allowed is None else allowed)
        self.errors += [f"[{section}] {error}" for error in errors]
        return result

    def _make_selected(
        self,
        section: str,
        selector: str,
        makers: Mapping[str, Callable[..., Any]],
        skip: Iterable[str] = (),
        others: Mapping[str, Parameter] = MappingProxyType({}),
        elsewhere: Mapping[str, str] = MappingProxyType({}),
    ) -> Any:
        """Return the object whose maker the key `selector` names, made from the other keys of the section but `others`."""
        name = self._sections[section].get(selector)
        if name is None:
            self.errors.append(f"[{section}] {selector} is missing; expected one of {', '.join(map(repr, makers))}")
            return None
        try:
            maker = makers[checks.one_of(name, selector, makers, elsewhere)]
        except ValueError as error:
            self.errors.append(f"[{section}] {error}")
            return None

        def make(**values: Any) -> Any:
            return maker(**{k: self._resolve(value) if k in PATHS else value for k, value in values.items()})

        allowed = {**rates.allowed(keys(maker, skip), self._sections[section]), **others}
        return self._make(section, make, allowed, [selector, *others])

    def _weights(self) -> dict[str, Any] | None:
        """Return the weights of [data]; the text sample_weight is the path of an .npz file that has them by this name."""

        def make(**values: Any) -> dict[str, Any]:
            path = values.get("sample_weight")
            if isinstance(path, str):
                content = arrays(self._resolve(path), only=["sample_weight"])
                if not content:
                    raise ValueError(f"sample_weight = {shown(path)}: the file has no array of this name")
                values |= content
            return values

        section = self._sections["data"]
        weights: dict[str, Any] | None = self._make(
            "data", make, WEIGHTS, [key for key in section if key not in WEIGHTS]
        )
        return weights

    def _resolve(self, path: str) -> Path:
        """Return a path given in the file, which is relative to the file's folder."""
        return self.path.parent / path

    def _algorithms(self) -> list[Algorithm]:
        section = self._sections["algorithm"]
        each, algorithms = section.get("lr"), []
        for given in each if isinstance(each, list) and each else [each]:
            rate = rates.read(given, self._sections["run"].get("steps", 1), self.errors)
            self._sections["algorithm"] = section if rate is None else {**section, "lr": rate}
            algorithm = self._make_selected("algorithm", "name", ALGORITHMS, elsewhere=ELSEWHERE)
            if algorithm is None:
                return []  # the errors of the other keys would be repeated for each rate
            algorithms.append(algorithm)
        self._sections["algorithm"] = section
        return algorithms

    def _networks(self, rates: int) -> int | None:
        """Return E for an ensemble, None for a single run."""
        members = self._sections["run"].get("members")
        if members is None:
            return rates if rates > 1 else None
        try:
            if rates > 1:
                raise ValueError(f"members={shown(members)}: expected none where [algorithm] lr lists {rates} runs")
            return checks.integer(members, "members", minimum=1, maximum=_MOST_MEMBERS)
        except (ValueError, TypeError) as error:
            self.errors.append(f"[run] {error}")
            return 1

    def _plan(
        self, U: NetworkPotential | None, algorithms: list[Algorithm], networks: int | None
    ) -> _RunSection | None:
        """Return the section [run] after the checks of `integrate`; without U only its keys are checked."""

        def check(**values: Any) -> _RunSection:
            problem: Potential = Radial() if U is None else U
            accepted = keys(memory, _PROBLEM_KEYS if U is None else ())
            given = {key: values[key] for key in values if key in accepted}
            n_bytes = memory(problem, networks=networks, algorithm=algorithms[0] if algorithms else None, **given)
            refuse_beyond_memory(n_bytes)
            if algorithms:
                plan.motion(algorithms[0], (problem.n_params,), None, values.get("t0"))
            checks.one_of(values.get("backend", "auto"), "backend", plan.BACKENDS)
            checks.generator(values.get("rng", 0))
            if "checkpoint_every" in values:
                interval(values["checkpoint_every"])
            laws = watched(problem, values.get("laws", "all"), "batch_size" in values) if U is not None else []
            return _RunSection(values, [s.name for s in laws], n_bytes)

        allowed = {**keys(integrate if networks is None else ensemble, NOT_IN_RUN), **MEMBERS}
        planned: _RunSection | None = self._make("run", check, allowed, skip=["members"])
        return planned

    def _start(
        self, U: NetworkPotential | None, algorithms: list[Algorithm], networks: int | None
    ) -> tuple[Array, Array | None] | None:
        """Return initial parameters and velocity; without U only the keys are checked."""
        network = Network([2, 2]) if U is None else U.network
        members = networks if U is not None and len(algorithms) < 2 else None

        def draw(rng: int = 0, **options: Any) -> tuple[Array, None]:
            if members is None:
                return network.init(rng, **options), None
            return np.stack([network.init(child, **options) for child in checks.generator(rng).spawn(members)]), None

        def read(path: str) -> tuple[Array, Array | None]:
            if members is not None:
                raise ValueError("path holds one start: expected none with [run] members, which draw their own")
            if U is None:
                return np.empty(0), None
            return _stored_start(
                self._resolve(path), network.n_params, moving=bool(algorithms) and algorithms[0].has_velocity
            )

        start: tuple[Array, Array | None] | None = (
            self._make("initial", read)
            if "path" in self._sections["initial"]
            else self._make("initial", draw, keys(network.init))
        )
        if start is None or len(algorithms) < 2:
            return start
        x, v = start
        return np.tile(x, (len(algorithms), 1)), None if v is None else np.tile(v, (len(algorithms), 1))

    def _output(self, laws: list[str] | None, several: bool) -> Output | None:
        """Return the section [output]; the default of `name` is the name of the file."""
        self._sections["output"].setdefault("name", file_name(self.path.stem))
        output: Output | None = self._make("output", Output)
        if output is not None and laws is not None:
            try:
                output.check(laws, several)
            except ValueError as error:
                self.errors.append(f"[output] {error}")
        return output


@dataclass(frozen=True)
class _RunSection:
    """The section [run]."""

    arguments: dict[str, Any]
    laws: list[str]
    n_bytes: int


def file_name(text: str) -> str:
    """Return `text` with the characters replaced that `Output.name` does not allow."""
    return re.sub(r"[^\w-]+", "-", text).strip("-")[:100] or "run"


def _stored_start(path: Path, n_params: int, moving: bool) -> tuple[Array, Array | None]:
    """Return x and, if `moving`, the velocity v of an .npz file, None if it has none; of a saved run, the final ones."""
    content = arrays(path)
    if "x" not in content:
        raise ValueError(f"path={str(path)!r} holds {sorted(content)}; expected x, and v for a velocity")
    x = checks.shaped(content["x"], "x of path", (n_params,))
    return x, checks.shaped(content["v"], "v of path", x.shape) if moving and "v" in content else None
