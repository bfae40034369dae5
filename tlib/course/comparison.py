"""Whether a student's function did what the reference solution does, and if not, what kind of thing went wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

RTOL = 1e-4
ATOL, NUMBER_ATOL = 1e-5, 1e-6  # of tensors, as torch.testing has it for single precision; and of plain numbers
WHY = {
    "right": "right",
    "value": "another result than the reference",
    "shape": "another shape than the reference",
    "kind": "another type than the docstring names",
    "gradient": "right values, another gradient than the reference",
    "changed": "it changes its arguments, which belong to the caller",
    "refused": "it accepts what it has to refuse, or refuses with another kind of error",
    "missing": "there is no function of this name",
    "time": "stopped: it took too long",
    "size": "stopped: it returned too much",
    "died": "stopped: out of memory or time, or it ended itself",
    "garbled": "its answer could not be read",
}


def compare(expected: dict[str, Any], given: dict[str, Any]) -> str:
    """Whether an outcome is the reference's: "right", or another key of WHY."""
    try:
        return _compare(expected, given)
    except Exception:  # numbers beyond what arrays hold, say: whatever it is, it is not the reference's result
        return "value"


def _compare(expected: dict[str, Any], given: dict[str, Any]) -> str:
    if "raised" in expected:
        return "right" if given.get("raised") == expected["raised"] and "value" not in given else "refused"
    if "value" not in given:
        return "value"
    if (found := _differs(expected["value"], given["value"])) != "right":
        return found
    if given.get("changed") is not False:
        return "changed"
    if expected["gradients"] is not None:
        gradients = given.get("gradients")
        if type(gradients) is not list or len(gradients) != len(expected["gradients"]):
            return "gradient"
        if any(_differs(e, g) != "right" for e, g in zip(expected["gradients"], gradients, strict=True)):
            return "gradient"
    return "right"


def _differs(expected: Any, given: Any) -> str:
    """How a value differs from the expected one: "right", "kind", "shape" or "value"."""
    import torch

    if isinstance(expected, torch.Tensor) and expected.dim() == 0 and type(given) in (int, float, bool):
        given = torch.tensor(given)
    if type(expected) in (int, float) and isinstance(given, torch.Tensor) and given.dim() == 0:
        given = given.item()
    if isinstance(expected, torch.Tensor):
        given = torch.from_numpy(given.copy()) if isinstance(given, np.ndarray) else given
        if not isinstance(given, torch.Tensor) or _family(given.dtype) != _family(expected.dtype):
            return "kind"
        if given.shape != expected.shape:
            return "shape"
        close = torch.allclose(given.double(), expected.double(), rtol=RTOL, atol=ATOL, equal_nan=True)
        return "right" if close else "value"
    if isinstance(expected, (list, tuple)):
        if not isinstance(given, (list, tuple)):
            return "kind"
        if len(given) != len(expected):
            return "shape"
        return next((why for e, g in zip(expected, given, strict=True) if (why := _differs(e, g)) != "right"), "right")
    if isinstance(expected, dict):
        if type(given) is not dict or list(map(str, sorted(given))) != list(map(str, sorted(expected))):
            return "kind"
        return next((why for key in expected if (why := _differs(expected[key], given[key])) != "right"), "right")
    if type(expected) is float and type(given) in (int, float):
        return "right" if np.isclose(given, expected, rtol=RTOL, atol=NUMBER_ATOL, equal_nan=True) else "value"
    if type(expected) is not type(given):
        return "kind"
    return "right" if expected == given else "value"


def _family(dtype: Any) -> str:
    return "float" if dtype.is_floating_point else "bool" if str(dtype) == "torch.bool" else "int"
