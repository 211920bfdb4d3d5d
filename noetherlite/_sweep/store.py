"""A sweep's folder: sweep.json says what is computed, and each member has a file, there complete or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .._base import identity
from .._base.files import arrays, replacing
from .._base.versions import versions
from .grid import child, describe, members
from .task import Outcome, as_result

SCHEMA = 1
_MANIFEST = "sweep.json"
_FIELDS = ("format", "schema", "function", "key", "content", "seed", "parameters", "versions")


def manifest(
    function: Callable[..., Any], parameters: list[dict[str, Any]], seed: np.random.SeedSequence, key: str | None
) -> dict[str, Any]:
    """Return what is computed, ready for JSON.

    Raises
    ------
    TypeError
        If the function cannot be identified, and no key says what it is.
    """
    content = {} if key is not None else _content(function)
    return {
        "format": "noetherlite sweep",
        "schema": SCHEMA,
        "function": describe(function),
        "key": _key(content) if key is None else key,
        "content": content,
        "seed": _seed(seed),
        "parameters": parameters,
        "versions": versions(),
    }


def _content(function: Callable[..., Any]) -> dict[str, str]:
    """Return the digests of what a function is made of; none where its description says all."""
    if identity.identified_by_name(function):
        return {}
    try:
        return identity.parts(function)
    except identity.UnidentifiedError as error:
        raise TypeError(
            f"function {describe(function)} cannot be told from another: {error}; give key=, a text that names it and "
            "what it computes from, and another one whenever these change"
        ) from None


def _key(content: Mapping[str, str]) -> str:
    text = json.dumps(content, sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" if content else ""


def _seed(seed: np.random.SeedSequence) -> dict[str, Any]:
    entropy = seed.entropy if isinstance(seed.entropy, int) else np.asarray(seed.entropy).tolist()
    return {"entropy": entropy, "spawn_key": list(seed.spawn_key), "pool_size": seed.pool_size}


class Store:
    """The folder of a sweep.

    Parameters
    ----------
    folder : Path
        Where it is.
    wanted : dict, optional
        The manifest of the sweep that is to be written; by default the folder is read as it is.
    given : bool
        Whether its key was given by the user, rather than made from the function's content.
    """

    def __init__(self, folder: Path, wanted: Mapping[str, Any] | None = None, given: bool = False) -> None:
        self.folder = folder
        path = folder / _MANIFEST
        if wanted is not None and not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _write(path, wanted)
        self.manifest = self._read(path)
        if wanted is not None:
            self._match(wanted, given)

    def _match(self, wanted: Mapping[str, Any], given: bool) -> None:
        """Raise a ValueError if the folder holds another sweep; a key that was given stands for the function."""
        there = self.manifest
        known = there["key"] or there["function"]  # folders of early versions have no key
        if given and known != wanted["key"]:
            raise self._other(f"its key is {known!r}, not {wanted['key']!r}")
        for (what, held), (_, asked) in zip(_facts(there, given), _facts(wanted, given), strict=False):
            if json.dumps(held) != json.dumps(asked):  # as text, in which NaN is NaN
                raise self._other(f"its {what} is {_around(held, asked)}, not {_around(asked, held)}")
        if given or there["key"] == wanted["key"]:
            return
        if there["key"] and not there["content"]:
            raise self._other(f"it was begun with key={known!r}: give that")
        old, new = there["content"], wanted["content"]
        if old:
            changed = ", ".join(name for name in {**old, **new} if old.get(name) != new.get(name))
            made = f"; it was written by Python {there['versions'].get('python', '')}" if "code" in changed else ""
            reason = f"its function {there['function']} is another in: {changed}{made}"
        else:
            reason = f"it was written by a version that knew its function {there['function']} by name alone"
        raise self._other(f"{reason}; to go on all the same, where you know that the results fit, give key={known!r}")

    def _other(self, reason: str) -> ValueError:
        return ValueError(
            f"out={str(self.folder)!r} holds another sweep: {reason}; give another folder, or remove this one"
        )

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        try:
            found = json.loads(path.read_text("utf-8"))
            if found["format"] != "noetherlite sweep":
                raise KeyError("format")
            if found["schema"] > SCHEMA:
                raise ValueError(f"{path} has format {found['schema']}; this version reads up to {SCHEMA}")
            if not isinstance(found["parameters"], list):
                raise KeyError("parameters")
            try:
                members(found["parameters"])
            except (TypeError, ValueError) as error:
                raise KeyError(f"parameters ({error})") from error
            if not (isinstance(found["function"], str) and isinstance(found["versions"], dict)):
                raise KeyError("function")
            found = {"key": "", "content": {}, **found}
            if not (isinstance(found["key"], str) and isinstance(found["content"], dict)):
                raise KeyError("key")
            return {name: found[name] for name in _FIELDS}
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise ValueError(
                f"{path} is not the manifest of a noetherlite sweep: missing or damaged {error}"
            ) from error

    def read(self) -> dict[int, Outcome]:
        """Return the members that are there, failed ones among them."""
        found = {}
        for i, expected in enumerate(self.manifest["parameters"]):
            for path, read in ((self._done(i), _result), (self._failed(i), _failure)):
                if path.exists():
                    parameters, found[i] = read(path)
                    if json.dumps(parameters) != json.dumps(expected):
                        raise ValueError(f"{path} belongs to another sweep: its parameters are {parameters}")
                    break
        return found

    def write(self, i: int, outcome: Outcome) -> None:
        """Write a member."""
        header = {
            "parameters": self.manifest["parameters"][i],
            "seed": _seed(child(np.random.SeedSequence(**self.manifest["seed"]), i)),
            "versions": versions(),
            "seconds": outcome.seconds,
        }
        if outcome.result is None:
            _write(self._failed(i), {**header, "error": outcome.error, "traceback": outcome.traceback})
            return
        result = {f"result/{name}": value for name, value in outcome.result.items()}
        with replacing(self._done(i)) as file:
            np.savez(file, header=np.array(json.dumps(header)), **result)
        self._failed(i).unlink(missing_ok=True)

    def _done(self, i: int) -> Path:
        return self.folder / f"{i:06}.npz"

    def _failed(self, i: int) -> Path:
        return self.folder / f"{i:06}.failed.json"


@contextmanager
def _undamaged(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # zipfile, zlib and numpy raise many kinds for a damaged file
        raise ValueError(f"{path} is damaged: {error!r}; remove it to have its member computed again") from error


def _result(path: Path) -> tuple[Any, Outcome]:
    """Return a member's parameters, and what was computed."""
    with _undamaged(path):
        stored = arrays(path)
        header = json.loads(str(stored.pop("header")))
        result = as_result({name.removeprefix("result/"): a for name, a in stored.items()})
        return header["parameters"], Outcome(result, "", "", float(header["seconds"]))


def _failure(path: Path) -> tuple[Any, Outcome]:
    """Return a member's parameters, and how it failed."""
    with _undamaged(path):
        report = json.loads(path.read_text("utf-8"))
        return report["parameters"], Outcome(
            None, str(report["error"]), str(report["traceback"]), float(report["seconds"])
        )


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as file:
        file.write(json.dumps(content, indent=1, ensure_ascii=False).encode())


def _facts(manifest: Mapping[str, Any], given: bool) -> Iterator[tuple[str, Any]]:
    """Yield what makes two sweeps the same, with its name; not the function's where a key was given for it."""
    if not given:
        yield "function", manifest["function"]
    yield "seed", manifest["seed"]
    yield "number of members", len(manifest["parameters"])
    yield from ((f"member {i}", parameters) for i, parameters in enumerate(manifest["parameters"]))


def _around(value: object, other: object) -> str:
    """Return the text of a value, only that around its first difference from another's where it is long."""
    text, against = str(value), str(other)
    if len(text) <= 160:
        return text
    same = next((i for i, (a, b) in enumerate(zip(text, against, strict=False)) if a != b), len(against))
    begin = max(0, same - 40)
    return f"{'…' if begin else ''}{text[begin : begin + 120]}…"
