"""Records of chapters: what a run measured and decided, as JSON, and how a run is compared with the committed one."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tlib import paths, store

if TYPE_CHECKING:
    import torch

LIBRARIES = ("torch", "transformers", "datasets", "tokenizers", "accelerate", "numpy", "scipy", "scikit-learn")

# What differs from run to run and from machine to machine; never compared.
CIRCUMSTANCES = ("wall_s", "peak_mb", "commit", "versions", "device", "arithmetic", "threads")
# What an author declares before the run. A committed record that says otherwise is out of date, or a margin was moved.
DECLARED = ("statement", "paper", "reported", "metric", "kind", "margin", "expected")
PROFILES = ("laptop", "colab", "paper")
SIGNS = {"confirmed": "✓", "refuted": "✗", "inconclusive": "?"}
VERDICTS = tuple(SIGNS)
# Scores between 0 and 1, printed in points (times 100).
POINT_METRICS = ("accuracy", "f1", "precision", "recall", "error")


class RecordError(ValueError):
    """A record cannot be read or written; the message names the file and the remedy."""


class Difference(NamedTuple):
    """One difference between two records. `severity` is "fail", "warn" or "info" (numbers moved, nothing decided)."""

    severity: str
    claim: str | None
    message: str


def to_json(record: dict[str, Any]) -> str:
    """The record as JSON, numbers to six significant digits. RecordError on what JSON has no form for, such as NaN."""
    try:
        return json.dumps(_rounded(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecordError(f"a record holds finite numbers, text, lists and dicts alone: {error}") from None


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write `to_json(record)`, whole or not at all."""
    store.write(Path(path), to_json(record).encode())


def read_record(path: Path) -> dict[str, Any]:
    """The record at `path`. FileNotFoundError if there is none; RecordError if it is damaged or no record."""
    path = Path(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        missing = {"chapter", "profile", "claims"} - record.keys()
    except (ValueError, AttributeError) as error:
        raise RecordError(f"{path.name} is not a record ({error}): run its chapter again with --accept") from None
    if missing:
        raise RecordError(f"{path.name} lacks {', '.join(sorted(missing))}: run its chapter again with --accept")
    return record


def compare(new: dict[str, Any], committed: dict[str, Any]) -> list[Difference]:
    """What a run says otherwise than the committed record of the same chapter and profile.

    "fail": a verdict changed, a claim came or went, or what was declared for it changed. "warn": the data changed, or a
    verdict crossed between inconclusive and its neighbour where it may: it is marked fragile in the committed record,
    or the two runs' `arithmetic` differs and their effects differ by no more than chance. "info": an effect or an
    interval moved without changing a verdict, or a note changed. Circumstances (time, memory, device, threads,
    versions, commit) are not compared.
    """
    new, committed = _rounded(new), _rounded(committed)
    same_machine = new.get("arithmetic") == committed.get("arithmetic")
    found = []
    for field in ("chapter", "profile"):
        if new[field] != committed[field]:
            found.append(Difference("fail", None, f"{field} is {new[field]}, committed {committed[field]}"))
    for field, severity in (("data", "warn"), ("notes", "info")):
        here, there = new.get(field, {}), committed.get(field, {})
        changed = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
        found += [Difference(severity, None, f"{field}: {name} differs") for name in changed]
    here, there = ({claim["id"]: claim for claim in record["claims"]} for record in (new, committed))
    for name in [*there, *(name for name in here if name not in there)]:
        if name in here and name in there:
            found += _compare_claims(here[name], there[name], same_machine)
        else:
            where = "not in the committed record" if name in here else "in the committed record alone"
            found.append(Difference("fail", name, f"the claim is {where}"))
    return found


def circumstances(device: torch.device) -> dict[str, Any]:
    """Device, versions, the checkout's revision, and the peak memory of this process in MB (the GPU's where higher)."""
    import resource

    import torch

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    name = f"cpu ({platform.machine()})"
    if device.type == "cuda":
        name, peak = torch.cuda.get_device_name(device), max(peak, torch.cuda.max_memory_allocated(device) / 2**20)
    versions = {"python": platform.python_version(), **{library: metadata.version(library) for library in LIBRARIES}}
    measured = {"device": name, "arithmetic": arithmetic(device), "peak_mb": round(peak)}
    return measured | {"versions": versions, "commit": _revision()}


def arithmetic(device: torch.device) -> str:
    """How this machine computes: "bf16 3f0a91c2", the precision of training and a digest of some results' last bits.

    Where two machines agree in it, the same seed gives the same numbers. Where they do not, because their processors
    have other instructions, training from the same seed takes another path within a few updates.
    """
    import torch

    from tlib.training import autocast, best_precision

    with torch.random.fork_rng(devices=[]), torch.no_grad(), autocast(device):
        torch.manual_seed(0)
        lstm, x, softmax = torch.nn.LSTM(96, 128), torch.randn(16, 32, 96), torch.randn(128, 2000)
        hidden, _ = lstm.to(device)(x.to(device))
        logits = (hidden @ softmax.to(device)).float()
    digest = hashlib.sha256(logits.log_softmax(dim=-1).sum(dim=(0, 1)).cpu().numpy().tobytes())
    return f"{best_precision(device)} {digest.hexdigest()[:8]}"


def unit(metric: str) -> tuple[float, str]:
    """What a value of the metric is multiplied by in print, and the unit then: points for scores between 0 and 1."""
    return (100.0, "points") if any(word in metric.lower() for word in POINT_METRICS) else (1.0, metric)


def describe(metric: str, value: float, interval: tuple[float, float] | None = None, sign: bool = True) -> str:
    """A value of the metric in print, with its interval: "+3.1 points [+1.2, +5.0]"."""
    factor, name = unit(metric)

    def show(number: float) -> str:
        text = f"{factor * number:+.1f}" if name == "points" else f"{factor * number:+.3g}"
        if float(text) == 0:
            text = text.lstrip("+-")
        elif not sign:
            text = text.removeprefix("+")
        return text.replace("-", "−")

    text = f"{show(value)} {name}"
    return f"{text} [{show(interval[0])}, {show(interval[1])}]" if interval else text


def _revision() -> str | None:
    """The checkout's commit, with "-dirty" when files differ from it; None outside a git checkout."""
    checkout = paths.root()
    if not checkout:
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _compare_claims(new: dict[str, Any], committed: dict[str, Any], same_machine: bool) -> list[Difference]:
    name = new["id"]
    found = [
        Difference("fail", name, f"{field} is {new.get(field)!r}, committed {committed.get(field)!r}")
        for field in DECLARED
        if new.get(field) != committed.get(field)
    ]
    effects = [describe(claim["metric"], claim["effect"], claim["interval"]) for claim in (new, committed)]
    if new["verdict"] != committed["verdict"]:
        message = f"{new['verdict']} ({effects[0]}), committed as {committed['verdict']} ({effects[1]})"
        reason = ""
        if "inconclusive" in (new["verdict"], committed["verdict"]):
            if committed.get("fragile"):
                reason = ", fragile"
            elif not same_machine and _agree(new, committed):
                reason = ", which other arithmetic explains: the effects differ by no more than chance"
        found.append(Difference("warn" if reason else "fail", name, message + reason))
    elif new != committed and not found:
        found.append(Difference("info", name, f"numbers moved: {effects[0]}, committed {effects[1]}"))
    return found


def _agree(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two runs' effects differ by no more than chance: the 95% interval of the difference includes zero."""
    half_widths = ((claim["interval"][1] - claim["interval"][0]) / 2 for claim in (first, second))
    return abs(first["effect"] - second["effect"]) <= math.hypot(*half_widths)


def _rounded(value: Any) -> Any:
    """The value with its floats at six significant digits, so that a record does not change in rounding noise."""
    if isinstance(value, float):
        return float(f"{value:.6g}") + 0.0  # + 0.0 turns -0.0 into 0.0
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return _rounded(value.item()) if hasattr(value, "item") else value  # a number of numpy's or torch's
