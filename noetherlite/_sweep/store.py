"""A sweep's folder: sweep.json, its manifest, and one file per member, which appears complete or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .._base import identity
from .._base.files import arrays, replacing, write_text
from .._base.versions import versions
from .grid import child, describe, members
from .task import Outcome, as_result

SCHEMA = 1
_MANIFEST = "sweep.json"
_FIELDS = ("format", "schema", "function", "key", "content", "seed", "parameters", "versions")


def manifest(
    function: Callable[..., Any], parameters: list[dict[str, Any]], seed: np.random.SeedSequence, key: str | None
) -> dict[str, Any]:
    """Return the manifest of a sweep, ready for JSON: function, key, seed and parameters.

    TypeError if the function cannot be identified and no key is given.
    """
    content = {} if key is not None else _function_digests(function)
    return {
        "format": "noetherlite sweep",
        "schema": SCHEMA,
        "function": describe(function),
        "key": _key_of(content) if key is None else key,
        "content": content,
        "seed": _seed_entry(seed),
        "parameters": parameters,
        "versions": versions(),
    }


def _function_digests(function: Callable[..., Any]) -> dict[str, str]:
    """Return the digests of a function's parts; none if its description identifies it."""
    if identity.identified_by_name(function):
        return {}
    try:
        return identity.parts(function)
    except identity.UnidentifiedError as error:
        raise TypeError(
            f"function {describe(function)} cannot be told from another: {error}; give key=, a string that names it and "
            "what it computes from, and another one whenever these change"
        ) from None


def _key_of(content: Mapping[str, str]) -> str:
    text = json.dumps(content, sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" if content else ""


def _seed_entry(seed: np.random.SeedSequence) -> dict[str, Any]:
    entropy = seed.entropy if isinstance(seed.entropy, int) else np.asarray(seed.entropy).tolist()
    return {"entropy": entropy, "spawn_key": list(seed.spawn_key), "pool_size": seed.pool_size}


class Store:
    """The folder of a sweep, which is only read unless a manifest to be written is given.

    `key_given`: whether the key was given by the user, not made from the function's content.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any] | None = None, key_given: bool = False) -> None:
        self.folder = folder
        path = folder / _MANIFEST
        if manifest is not None and not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _write_json(path, manifest)
        self.manifest = self._read_manifest(path)
        if manifest is not None:
            self._check_same(manifest, key_given)

    def _check_same(self, requested: Mapping[str, Any], key_given: bool) -> None:
        """Raise ValueError if the folder holds another sweep; a given key replaces the comparison of functions."""
        stored = self.manifest
        stored_key = stored["key"] or stored["function"]  # folders of early versions have no key
        if key_given and stored_key != requested["key"]:
            raise self._other_sweep_error(f"its key is {stored_key!r}, not {requested['key']!r}")
        for (name, stored_fact), (_, requested_fact) in zip(
            _compared_facts(stored, key_given), _compared_facts(requested, key_given), strict=False
        ):
            if json.dumps(stored_fact) != json.dumps(requested_fact):  # as text, in which NaN is NaN
                raise self._other_sweep_error(
                    f"its {name} is {_excerpt(stored_fact, requested_fact)}, not {_excerpt(requested_fact, stored_fact)}"
                )
        if key_given or stored["key"] == requested["key"]:
            return
        if stored["key"] and not stored["content"]:
            raise self._other_sweep_error(f"it was begun with key={stored_key!r}: give that")
        old, new = stored["content"], requested["content"]
        if old:
            changed = ", ".join(name for name in {**old, **new} if old.get(name) != new.get(name))
            writer = f"; it was written by Python {stored['versions'].get('python', '')}" if "code" in changed else ""
            reason = f"its function {stored['function']} is another in: {changed}{writer}"
        else:
            reason = f"it was written by a version that knew its function {stored['function']} by name alone"
        raise self._other_sweep_error(
            f"{reason}; to go on all the same, where you know that the results fit, give key={stored_key!r}"
        )

    def _other_sweep_error(self, reason: str) -> ValueError:
        return ValueError(
            f"out={str(self.folder)!r} holds another sweep: {reason}; give another folder, or remove this one"
        )

    @staticmethod
    def _read_manifest(path: Path) -> dict[str, Any]:
        try:
            manifest = json.loads(path.read_text("utf-8"))
            if manifest["format"] != "noetherlite sweep":
                raise KeyError("format")
            if manifest["schema"] > SCHEMA:
                raise ValueError(f"{path} has format {manifest['schema']}; this version reads up to {SCHEMA}")
            if not isinstance(manifest["parameters"], list):
                raise KeyError("parameters")
            try:
                members(manifest["parameters"])
            except (TypeError, ValueError) as error:
                raise KeyError(f"parameters ({error})") from error
            if not (isinstance(manifest["function"], str) and isinstance(manifest["versions"], dict)):
                raise KeyError("function")
            manifest = {"key": "", "content": {}, **manifest}
            if not (isinstance(manifest["key"], str) and isinstance(manifest["content"], dict)):
                raise KeyError("key")
            return {name: manifest[name] for name in _FIELDS}
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise ValueError(
                f"{path} is not the manifest of a noetherlite sweep: missing or damaged {error}"
            ) from error

    def read(self) -> dict[int, Outcome]:
        """Return the stored outcomes by member, failures included."""
        outcomes = {}
        for i, expected in enumerate(self.manifest["parameters"]):
            for path, read in ((self._result_path(i), _read_result), (self._failure_path(i), _read_failure)):
                if path.exists():
                    parameters, outcomes[i] = read(path)
                    if json.dumps(parameters) != json.dumps(expected):
                        raise ValueError(f"{path} belongs to another sweep: its parameters are {parameters}")
                    break
        return outcomes

    def write(self, i: int, outcome: Outcome) -> None:
        """Write the outcome of member i."""
        header = {
            "parameters": self.manifest["parameters"][i],
            "seed": _seed_entry(child(np.random.SeedSequence(**self.manifest["seed"]), i)),
            "versions": versions(),
            "seconds": outcome.seconds,
        }
        if outcome.result is None:
            _write_json(self._failure_path(i), {**header, "error": outcome.error, "traceback": outcome.traceback})
            return
        result = {f"result/{name}": value for name, value in outcome.result.items()}
        with replacing(self._result_path(i)) as file:
            np.savez(file, header=np.array(json.dumps(header)), **result)
        self._failure_path(i).unlink(missing_ok=True)

    def _result_path(self, i: int) -> Path:
        return self.folder / f"{i:06}.npz"

    def _failure_path(self, i: int) -> Path:
        return self.folder / f"{i:06}.failed.json"


@contextmanager
def _damage_reported(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # zipfile, zlib and numpy raise many kinds for a damaged file
        raise ValueError(f"{path} is damaged: {error!r}; remove it to have its member computed again") from error


def _read_result(path: Path) -> tuple[Any, Outcome]:
    """Return the parameters and the outcome of a computed member."""
    with _damage_reported(path):
        stored = arrays(path)
        header = json.loads(str(stored.pop("header")))
        result = as_result({name.removeprefix("result/"): a for name, a in stored.items()})
        return header["parameters"], Outcome(result, "", "", float(header["seconds"]))


def _read_failure(path: Path) -> tuple[Any, Outcome]:
    """Return the parameters and the outcome of a failed member."""
    with _damage_reported(path):
        report = json.loads(path.read_text("utf-8"))
        return report["parameters"], Outcome(
            None, str(report["error"]), str(report["traceback"]), float(report["seconds"])
        )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False))


def _compared_facts(manifest: Mapping[str, Any], key_given: bool) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of what must agree for two sweeps to be the same; without the function if a key was given."""
    if not key_given:
        yield "function", manifest["function"]
    yield "seed", manifest["seed"]
    yield "number of members", len(manifest["parameters"])
    yield from ((f"member {i}", parameters) for i, parameters in enumerate(manifest["parameters"]))


def _excerpt(value: object, other: object) -> str:
    """Return a value as text; of a long one, the part around the first difference from `other`."""
    text, other_text = str(value), str(other)
    if len(text) <= 160:
        return text
    first = next((i for i, (a, b) in enumerate(zip(text, other_text, strict=False)) if a != b), len(other_text))
    begin = max(0, first - 40)
    return f"{'…' if begin else ''}{text[begin : begin + 120]}…"
