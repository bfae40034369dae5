"""Run one submission inside the sandbox: its cells, then its functions on the grader's inputs.

Started by `tlib.course.sandbox` as a program, with this file and codec.py in sight and nothing else of `tlib`. A
job comes in on stdin, one frame for each exercise goes out on stdout. Each exercise runs in a process of its own, so
that a crash, an endless loop or an early exit costs that exercise alone. All that comes out is taken by the grader as
a student's answer: whoever forges it has to know the right ones.
"""

import builtins
import contextlib
import copy
import json
import os
import resource
import select
import signal
import sys
import time
from typing import Any


def main() -> None:
    """Limit this process, read the job, run its exercises."""
    settings = json.loads(sys.argv[1])
    sys.path += settings["site"]
    _limit(settings)
    import torch

    from tlib.course import codec

    torch.set_num_threads(1)
    job = codec.unpack(sys.stdin.buffer.read())
    answers = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    for exercise in job["exercises"]:
        status, frame = _apart(job["cells"], exercise, settings, answers)
        head = json.dumps({"status": status, "size": len(frame)}).encode()
        os.write(answers, len(head).to_bytes(8, "big") + head)
        with os.fdopen(os.dup(answers), "wb") as out:
            out.write(frame)


def _limit(settings: dict[str, Any]) -> None:
    """The limits that hold for the whole submission, and the way down from root where it started as root."""
    for name, value in settings["limits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    if settings["uid"] is not None:
        os.setgroups([])
        os.setgid(settings["uid"])
        os.setuid(settings["uid"])
    import ctypes

    ctypes.CDLL(None).prctl(
        4, 0, 0, 0, 0
    )  # PR_SET_DUMPABLE: no other process reads this one's memory or opens its files


def _apart(cells: list[str], exercise: dict, settings: dict, answers: int) -> tuple[str, bytes]:
    """Run an exercise in a child process: how it ended ("ok", "time", "size", "died") and its frame."""
    inlet, outlet = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(inlet)
        os.close(answers)
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (settings["cpu"], settings["cpu"]))
        try:
            _answer(cells, exercise, outlet)
        finally:
            os._exit(0)
    os.close(outlet)
    frame, status, end = b"", "ok", time.monotonic() + settings["wall"]
    while status == "ok":
        left = end - time.monotonic()
        ready = select.select([inlet, answers], [], [], left)[0] if left > 0 else []
        if not ready:
            status = "time"
        elif answers in ready:  # nobody reads it any more: the grader was killed
            status = "died"
        elif not (part := os.read(inlet, 1 << 16)):
            break
        else:
            frame += part
            if len(frame) > settings["size"]:
                status = "size"
    os.close(inlet)
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with contextlib.suppress(OSError):  # until there are no more: whatever the exercise left behind
        while settings["alone"]:
            os.kill(-1, signal.SIGKILL)
            os.waitpid(-1, 0)
    if status == "ok" and not frame:
        status = "died"
    return status, frame if status == "ok" else b""


def _answer(cells: list[str], exercise: dict, outlet: int) -> None:
    """Run the cells, call the function on every case, and write what came of it."""
    from tlib.course import codec

    names: dict[str, Any] = {"__name__": "__main__"}
    errors = [_run(source, number, names) for number, source in enumerate(cells)]
    function = names.get(exercise["function"])
    outcomes = [call(function, case) for case in exercise["cases"]] if callable(function) else None
    frame = codec.pack({"errors": [error for error in errors if error], "outcomes": outcomes})
    while frame:
        frame = frame[os.write(outlet, frame) :]


def _run(source: str, number: int, names: dict[str, Any]) -> dict[str, Any] | None:
    """Run a cell; where it raises, its number and the kind of error."""
    try:
        exec(compile(source, f"<cell {number}>", "exec"), names)
    except BaseException as error:
        return {"cell": number, "raised": kind_of(error)}
    return None


def kind_of(error: BaseException) -> str:
    """The name of a built-in exception's class; another class counts as the built-in one that it derives from."""
    for kind in type(error).__mro__:
        if getattr(builtins, kind.__name__, None) is kind:
            return kind.__name__
    return "BaseException"


def call(function: Any, case: dict[str, Any]) -> dict[str, Any]:
    """One call: {"value", "gradients", "changed"} or {"raised"}.

    With a case's "weights", the gradients are those of a weighted sum of the returned tensor by each floating tensor
    among the arguments.
    The reference solution is called by this very function.
    """
    import torch

    args = copy.deepcopy(case["args"])
    leaves = _floating(args)
    with_gradient = case["weights"] is not None
    for leaf in leaves:
        leaf.requires_grad_(with_gradient)
    try:
        torch.default_generator.manual_seed(0)
        value = function(*args)
        gradients = None
        if with_gradient:
            weighted = (value * case["weights"]).sum()
            gradients = list(torch.autograd.grad(weighted, leaves, allow_unused=True))
        outcome = {"value": value, "gradients": gradients, "changed": not same(args, case["args"])}
        _packable(outcome)
        return outcome
    except BaseException as error:
        return {"raised": kind_of(error)}


def _floating(value: Any) -> list[Any]:
    """The floating tensors in nested lists and tuples, in order."""
    import torch

    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in _floating(item)]
    return [value] if isinstance(value, torch.Tensor) and value.is_floating_point() else []


def _packable(outcome: dict[str, Any]) -> None:
    """Raise TypeError for a value that cannot be packed, whatever packing raised: it may be what is asked for."""
    from tlib.course import codec

    try:
        codec.pack(outcome)
    except Exception as error:
        raise TypeError(str(error)) from None


def same(left: Any, right: Any) -> bool:
    """Whether two arguments are equal, bit for bit."""
    import torch

    if type(left) is not type(right):
        return False
    if isinstance(left, torch.Tensor):
        return left.shape == right.shape and torch.equal(left.detach(), right)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    return left == right
