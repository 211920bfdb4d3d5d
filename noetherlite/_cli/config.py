"""Configuration files: TOML in, checked objects out, with every error of the file in one list.

What a section may hold is read from the signature of what it makes: [network] is `Network(…)`, [data] a function of `datasets`,
[algorithm] one of `ALGORITHMS`, [run] the arguments of `integrate` or `ensemble`. Their own checks judge the values.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter
from pathlib import Path
from typing import Any

import numpy as np

from .._base import checks
from .._base.files import arrays, present
from .._base.limits import refuse_beyond_memory
from .._base.types import Array
from .._motion.algorithms import ALGORITHMS
from .._motion.base import Algorithm
from .._problem import datasets
from .._problem.network import Network, NetworkPotential
from .._problem.potentials import Potential, Radial
from .._run import plan
from .._run.checkpoint import interval
from .._run.ensemble import ensemble
from .._run.integrate import integrate
from .._run.memory import memory
from .._symmetry.find import watched
from .say import UsageError
from .signatures import call, keys, printable, shown, unknown

LARGEST = 1 << 16  # bytes: a configuration is a page of text, and some texts take tomllib quadratic time
SECTIONS = ("network", "data", "initial", "algorithm", "run", "output", "sweep")
SOURCES: dict[str, Callable[..., Any]] = {name: getattr(datasets, name) for name in datasets.__all__ if name.islower()}
PLOTS = ("loss", "energy", "residuals")
# Not for a file that may come from elsewhere: where things lie on this machine, and whether the network is used.
NOT_IN_DATA = ("root", "download")
# What a run is made of is made by the other sections, and how it is watched is said on the command line.
NOT_IN_RUN = ("U", "algorithm", "x0", "X0", "velocity", "callback", "progress", "on_divergence", "checkpoint")
# The key of [run] that is no argument of `ensemble`: how many networks, each from a start of its own.
MEMBERS = {"members": Parameter("members", Parameter.KEYWORD_ONLY, default=None, annotation=int | None)}
_OF_THE_PROBLEM = ("laws", "batch_size", "input_reduction")
_MOST_MEMBERS = 1_000_000


class ConfigError(UsageError):
    """A configuration that cannot be used; one line for each error."""


@dataclass(frozen=True)
class Output:
    """What [output] says.

    Parameters
    ----------
    name : str
        Stem of the files' names: letters, digits, "_" and "-", so that it cannot lead out of their folder.
    plots : sequence of str
        "loss", "energy", "residuals" and names of laws.
    """

    name: str = "run"
    plots: Sequence[str] = ("loss",)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w-]{0,99}", self.name):
            raise ValueError(f"name={checks.describe(self.name)}: expected up to 100 letters, digits, '_' and '-'")

    def check(self, laws: Sequence[str], several: bool) -> None:
        """Raise a ValueError for a plot that a run with these laws, or an ensemble, does not have."""
        known = PLOTS[:1] if several else [*PLOTS, *laws]
        for i, plot in enumerate(self.plots):
            checks.one_of(plot, f"plots[{i}]", known)


@dataclass(frozen=True)
class Job:
    """A run that is ready to start.

    Attributes
    ----------
    U : NetworkPotential
        The potential.
    algorithm : Algorithm or list of Algorithm
        One, or one for each network of an ensemble.
    start : ndarray, shape (P,) or (E, P)
        Initial parameters: of an ensemble, where there are two axes.
    arguments : dict
        Further arguments of `integrate` or `ensemble`.
    laws : list of str
        The laws that it will watch.
    output : Output
        What is written.
    n_bytes : int
        Memory that the run will hold.
    """

    U: NetworkPotential
    algorithm: Algorithm | list[Algorithm]
    start: Array
    arguments: dict[str, Any]
    laws: list[str]
    output: Output
    n_bytes: int


@dataclass
class Config:
    """A configuration file.

    Attributes
    ----------
    path : Path
        The file.
    errors : list of str
        What is wrong with it: the section, the key, the value and what is allowed.
    content : dict, optional
        What it holds, where that is known already.
    """

    path: Path
    errors: list[str] = field(default_factory=list)
    content: Mapping[str, Any] | None = None

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

        Where there are errors it is None, or the list empty; `finish` raises them.
        """
        network = self._make("network", Network)
        data = self._chosen("data", "source", SOURCES, NOT_IN_DATA)
        U = None
        if network is not None and data is not None:
            try:
                U = network.potential(data)
            except (ValueError, TypeError) as error:
                self.errors.append(f"[data] and [network] do not fit: {error}")
        return U, self._algorithms()

    @property
    def minibatches(self) -> bool:
        """Whether [run] asks for minibatches."""
        return "batch_size" in self._sections["run"]

    def job(self) -> Job:
        """Return the run that the file describes.

        Raises
        ------
        ConfigError
            With every error of the file.
        """
        U, rules = self.problem()
        networks = self._networks(len(rules))
        planned = self._plan(U, rules, networks)
        started = self._start(None if planned is None else U, rules, networks)
        laws = None if U is None or planned is None else planned.laws
        output = self._output(laws, networks is not None)
        self.finish()
        assert U  # what is missing has left an error
        assert planned
        assert started
        assert output
        x, velocity = started
        arguments = {"rng": 0, **planned.arguments, "velocity": velocity}
        return Job(U, rules if len(rules) > 1 else rules[0], x, arguments, planned.laws, output, planned.n_bytes)

    # --- sections --------------------------------------------------------------------------------------------------

    def _make(
        self,
        section: str,
        function: Callable[..., Any],
        allowed: dict[str, Parameter] | None = None,
        leave: Iterable[str] = (),
    ) -> Any:
        """Return function(**keys of the section but those to leave), or None after noting what is wrong with them.

        The keys `allowed` are the function's own by default.
        """
        given = {key: value for key, value in self._sections[section].items() if key not in leave}
        made, errors = call(function, given, keys(function) if allowed is None else allowed)
        self.errors += [f"[{section}] {error}" for error in errors]
        return made

    def _chosen(
        self, section: str, selector: str, makers: Mapping[str, Callable[..., Any]], skip: Iterable[str] = ()
    ) -> Any:
        """Return what the section's `selector` names, made from its other keys."""
        name = self._sections[section].get(selector)
        if name is None:
            self.errors.append(f"[{section}] {selector} is missing; expected one of {', '.join(map(repr, makers))}")
            return None
        try:
            maker = makers[checks.one_of(name, selector, makers)]
        except ValueError as error:
            self.errors.append(f"[{section}] {error}")
            return None

        def make(**given: Any) -> Any:
            return maker(**{k: self._beside(value) if k == "path" else value for k, value in given.items()})

        return self._make(section, make, keys(maker, skip), [selector])

    def _beside(self, path: str) -> Path:
        """Return a path of the file, which is relative to the file's own folder."""
        return self.path.parent / path

    def _algorithms(self) -> list[Algorithm]:
        given = self._sections["algorithm"]
        rates, out = given.get("lr"), []
        for rate in rates if isinstance(rates, list) and rates else [rates]:
            self._sections["algorithm"] = given if rate is None else {**given, "lr": rate}
            made = self._chosen("algorithm", "name", ALGORITHMS)
            if made is None:
                return []  # the other rates share the other keys, and their errors
            out.append(made)
        self._sections["algorithm"] = given
        return out

    def _networks(self, rates: int) -> int | None:
        """Return E for an ensemble, None for a single run."""
        given = self._sections["run"].get("members")
        if given is None:
            return rates if rates > 1 else None
        try:
            if rates > 1:
                raise ValueError(f"members={shown(given)}: expected none where [algorithm] lr lists {rates} runs")
            return checks.integer(given, "members", minimum=1, maximum=_MOST_MEMBERS)
        except (ValueError, TypeError) as error:
            self.errors.append(f"[run] {error}")
            return 1

    def _plan(self, U: NetworkPotential | None, rules: list[Algorithm], networks: int | None) -> _RunSection | None:
        """Return what [run] says, after the checks that `integrate` would make; without U only those of its own keys."""

        def check(**given: Any) -> _RunSection:
            problem: Potential = Radial() if U is None else U
            known = keys(memory, _OF_THE_PROBLEM if U is None else ())
            n_bytes = memory(problem, networks=networks, **{key: given[key] for key in given if key in known})
            refuse_beyond_memory(n_bytes)
            if rules:
                plan.motion(rules[0], (problem.n_params,), None, given.get("t0"))
            checks.one_of(given.get("backend", "auto"), "backend", plan.BACKENDS)
            checks.generator(given.get("rng", 0))
            if "checkpoint_every" in given:
                interval(given["checkpoint_every"])
            laws = watched(problem, given.get("laws", "all"), "batch_size" in given) if U is not None else []
            return _RunSection(given, [s.name for s in laws], n_bytes)

        allowed = {**keys(integrate if networks is None else ensemble, NOT_IN_RUN), **MEMBERS}
        planned: _RunSection | None = self._make("run", check, allowed, leave=["members"])
        return planned

    def _start(
        self, U: NetworkPotential | None, rules: list[Algorithm], networks: int | None
    ) -> tuple[Array, Array | None] | None:
        """Return initial parameters and velocity; without U, only check the keys."""
        network = Network([2, 2]) if U is None else U.network
        members = networks if U is not None and len(rules) < 2 else None

        def draw(rng: int = 0, **given: Any) -> tuple[Array, None]:
            if members is None:
                return network.init(rng, **given), None
            return np.stack([network.init(child, **given) for child in checks.generator(rng).spawn(members)]), None

        def read(path: str) -> tuple[Array, Array | None]:
            if members is not None:
                raise ValueError("path holds one start: expected none with [run] members, which draw their own")
            if U is None:
                return np.empty(0), None
            return _stored(self._beside(path), network.n_params, moving=bool(rules) and rules[0].has_velocity)

        made: tuple[Array, Array | None] | None = (
            self._make("initial", read)
            if "path" in self._sections["initial"]
            else self._make("initial", draw, keys(network.init))
        )
        if made is None or len(rules) < 2:
            return made
        x, v = made
        return np.tile(x, (len(rules), 1)), None if v is None else np.tile(v, (len(rules), 1))

    def _output(self, laws: list[str] | None, several: bool) -> Output | None:
        """Return what [output] says; the file's own name is the default of the name."""
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
    """What [run] says."""

    arguments: dict[str, Any]
    laws: list[str]
    n_bytes: int


def file_name(text: str) -> str:
    """Return `text` as it may be in `Output.name`."""
    return re.sub(r"[^\w-]+", "-", text).strip("-")[:100] or "run"


def _stored(path: Path, n_params: int, moving: bool) -> tuple[Array, Array | None]:
    """Return x and, for a dynamics that has one, the velocity v of an .npz file, if it is there; a saved run's are its last."""
    held = arrays(path)
    if "x" not in held:
        raise ValueError(f"path={str(path)!r} holds {sorted(held)}; expected x, and v for a velocity")
    x = checks.shaped(held["x"], "x of path", (n_params,))
    return x, checks.shaped(held["v"], "v of path", x.shape) if moving and "v" in held else None


def read(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds."""
    return parse(path, text(path))


def text(path: Path) -> str:
    """Return the text of a configuration."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ConfigError(f"{path}: longer than {LARGEST} bytes, which no configuration is")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text in UTF-8 ({error})") from None


def parse(path: Path, content: str) -> dict[str, Any]:
    """Return what the text of a TOML file says."""
    try:
        return tomllib.loads(content)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def digests(path: Path, content: Mapping[str, Any], grid: Mapping[str, Sequence[Any]] | None = None) -> dict[str, str]:
    """Return the SHA-256 of the files that a configuration, or the values that a sweep gives its keys, name."""
    sections = [content.get(section) for section in ("data", "initial")]
    named = [section.get("path") for section in sections if isinstance(section, dict)]
    named += [value for key in ("data.path", "initial.path") for value in (grid or {}).get(key, ())]
    return {name: hashlib.sha256(present(path.parent / name).read_bytes()).hexdigest() for name in named if name}
