"""Settings of a configuration changed on the command line: --set algorithm.lr=0.1."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from .say import UsageError


def changed(content: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a configuration with other values of keys "section.key"."""
    out = dict(content)
    for name, value in values.items():
        section, key = name.split(".")
        inner = out.get(section, {})
        out[section] = {**inner, key: value} if isinstance(inner, dict) else inner
    return out


def parsed(settings: Sequence[str]) -> dict[str, Any]:
    """Return the values of "section.key=value", with values parsed as TOML; a value that is not TOML is a string.

    UsageError if one is not of this form, or a key is given twice.
    """
    out: dict[str, Any] = {}
    for setting in settings:
        match = re.fullmatch(r"\s*(\w+\.\w+)\s*=(.*)", setting, re.DOTALL)
        if match is None:
            raise UsageError(f"--set {setting!r}: expected SECTION.KEY=VALUE, such as algorithm.lr=0.1")
        name, text = match[1], match[2].strip()
        if name in out:
            raise UsageError(f"--set {setting!r}: {name} is set twice")
        try:
            out[name] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            out[name] = text
    return out
