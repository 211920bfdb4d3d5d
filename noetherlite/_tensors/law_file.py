"""The file format of laws: JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast, get_args

from .._base import checks, files
from .law import Kind, Law, Member, law_list
from .legs import Leg

_SCHEMA = 1


def dump(laws: Iterable[Law], path: str | Path) -> Path:
    """Write laws to a JSON file, which is never left half-written.

    Parameters
    ----------
    laws : iterable of Law
        Of `nl.scan(...)`, for example.
    path : str or Path
        The file.

    Returns
    -------
    Path
        The file.
    """
    document = {"schema": _SCHEMA, "laws": [_as_dict(law) for law in law_list(laws, fewest=0)]}
    target = checks.path(path)
    files.write_text(target, json.dumps(document, indent=1, ensure_ascii=False))
    return target


def load(path: str | Path) -> list[Law]:
    """Read laws from a JSON file that `dump` wrote.

    Raises
    ------
    ValueError
        If the file is not such a file; the message says which entry is wrong.
    """
    try:
        document = json.loads(checks.path(path).read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a JSON file of laws: {error}") from None
    if (
        not isinstance(document, dict)
        or document.get("schema") != _SCHEMA
        or not isinstance(document.get("laws"), list)
    ):
        raise ValueError(f"{path} is not a file of laws of schema {_SCHEMA}, as nl.tensors.dump writes them")
    return [_read_law(entry, f"{path}: law {k}") for k, entry in enumerate(document["laws"])]


def _as_dict(law: Law) -> dict[str, Any]:
    members = [
        {
            "tensor": m.leg.tensor,
            "shape": [list(sizes) for sizes in m.leg.splits],
            "kept": list(m.leg.kept),
            "part": list(m.leg.part) if m.leg.part else None,
            "arranged": list(m.leg.arranged),
            "components": list(m.leg.components),
            "coefficient": m.coefficient,
            "inverse": m.inverse,
        }
        for m in law.members
    ]
    return {
        "name": law.name,
        "kind": law.kind,
        "blocks": list(law.blocks),
        "acting": law.acting,
        "residual": law.residual,
        "gap": law.gap if law.gap < float("inf") else None,
        "members": members,
    }


def _read_law(entry: Any, place: str) -> Law:
    try:
        members = tuple(_read_member(m) for m in entry["members"])
        acting = entry["acting"]
        law = Law(
            cast(Kind, checks.one_of(entry["kind"], "kind", get_args(Kind))),
            members,
            tuple(int(n) for n in entry["blocks"]),
            None if acting is None else int(acting),
            str(entry["name"]),
            float(entry["residual"]),
            float("inf") if entry["gap"] is None else float(entry["gap"]),
        )
        law.check()
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"{place} is damaged: {type(error).__name__}: {error}") from None
    return law


def _read_member(entry: Any) -> Member:
    part = entry["part"]
    leg = Leg(
        str(entry["tensor"]),
        tuple(tuple(int(n) for n in sizes) for sizes in entry["shape"]),
        tuple(int(k) for k in entry["kept"]),
        None if part is None else (int(part[0]), int(part[1]), int(part[2])),
        tuple(int(n) for n in entry["arranged"]),
        tuple(int(k) for k in entry["components"]),
    )
    return Member(leg, checks.real(entry["coefficient"], "coefficient"), checks.boolean(entry["inverse"], "inverse"))
