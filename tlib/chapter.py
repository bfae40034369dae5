"""A chapter's frame: profile, seeds and device at its top, claims in between, verdicts and the record at its end.

ch = tlib.start("03_ulmfit", title="ULMFiT", paper="Howard & Ruder (2018)", idea="...", data=["bbc_news"])
size = ch.scale(laptop={"epochs": 2}, colab={"epochs": 8}, paper={"epochs": 50})
low_shot = ch.claim("low-shot", "With 100 labels, ...", paper="Figure 3", reported="...", metric="accuracy")
...
low_shot.test(treatment, baseline)
low_shot.control("shuffled labels", treatment_shuffled, baseline_shuffled)
ch.verdicts()
ch.finish()
"""

from __future__ import annotations

import os
import random
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tlib import paths
from tlib.claims import Claim, Statistic, verdict_table
from tlib.records import PROFILES, VERDICTS, Difference, circumstances, compare, read_record, to_json, write_record

if TYPE_CHECKING:
    import torch


class ChapterError(RuntimeError):
    """A chapter cannot be finished as it is; the message lists every reason with its remedy."""


def start(slug: str, *, title: str, paper: str, idea: str = "", data: Sequence[str] = (), seed: int = 0) -> Chapter:
    """Begin a chapter: choose its profile, seed everything, show its card.

    The profile is `TLIB_PROFILE` if set, else "colab" where there is a GPU and "laptop" where there is none.

    Args:
        slug: the notebook's name, "03_ulmfit"; it names the record too.
        title, paper, idea: the chapter's title, its paper with the year, the paper's idea in one sentence.
        data: names in the data catalogue; their hashes go into the record.
    """
    chapter = Chapter(slug, title, paper, idea, data, seed)
    from IPython.display import Markdown, display

    from tlib import plots

    warnings.filterwarnings("ignore", message="IProgress not found")  # tqdm's wish for widgets, in every reader's way
    plots.style()
    display(Markdown(chapter._repr_markdown_()))
    return chapter


class Chapter:
    """What `start` returns. Fields: slug, profile, device (a torch.device), threads, seed, claims, notes."""

    def __init__(self, slug: str, title: str, paper: str, idea: str, data: Sequence[str], seed: int) -> None:
        from tlib.data import hashes

        self.started = time.perf_counter()
        self.slug, self.title, self.paper, self.idea, self.seed = slug, title, paper, idea, seed
        self.profile = os.environ.get("TLIB_PROFILE") or _default_profile()
        _check_profiles("profile", [self.profile])
        self.data = hashes(data)
        self.device, self.threads = _prepare(self.profile, seed)
        self.claims: dict[str, Claim] = {}
        self.notes: dict[str, Any] = {}

    @property
    def cache(self) -> Path:
        """Folder for this chapter's own checkpoints at this profile; a run that was killed resumes from it."""
        folder = paths.chapter_cache(self.slug, self.profile)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def scale(self, **settings: Mapping[str, Any]) -> SimpleNamespace:
        """This profile's settings out of those of all three, given as `laptop={...}, colab={...}, paper={...}`.

        ValueError if a profile is missing or has other names than the rest, which only a run there would have shown.
        """
        if set(settings) != set(PROFILES):
            raise ValueError(f"ch.scale got settings for {', '.join(settings)}: give them for {', '.join(PROFILES)}")
        uncommon = set().union(*settings.values()) - set.intersection(*(set(names) for names in settings.values()))
        if uncommon:
            raise ValueError(f"ch.scale: every profile needs {', '.join(sorted(uncommon))}, and one lacks it")
        return SimpleNamespace(**settings[self.profile])

    def claim(
        self,
        id: str,
        statement: str,
        *,
        paper: str,
        reported: str,
        metric: str,
        margin: float = 0.0,
        kind: str = "difference",
        expect: Mapping[str, str] | None = None,
        statistic: Statistic | None = None,
    ) -> Claim:
        """Declare a claim, before anything is trained; arguments as in `tlib.claims.Claim`.

        `expect` gives the expected verdict by profile: `{"laptop": "inconclusive"}`. ValueError on an id that is taken.
        """
        if id in self.claims:
            raise ValueError(f"claim {id!r} is declared already: every claim of a chapter needs an id of its own")
        expect = expect or {}
        _check_profiles(f"expect of claim {id!r}", expect)
        if unknown := set(expect.values()) - set(VERDICTS):
            raise ValueError(f"claim {id!r} expects {', '.join(map(repr, unknown))}: use one of {', '.join(VERDICTS)}")
        expected = expect.get(self.profile)
        self.claims[id] = Claim(id, statement, paper, reported, metric, margin, kind, expected, statistic)
        return self.claims[id]

    def note(self, name: str, value: Any) -> None:
        """Put a measured fact into the record: a number, text, list or dict; RecordError at once for anything else."""
        to_json({name: value})
        self.notes[name] = value

    def verdicts(self) -> None:
        """Show every tested claim beside the paper's number: a table and the claim plot."""
        from IPython.display import HTML, display

        from tlib import plots

        tested = [claim for claim in self.claims.values() if claim.result]
        plots.show(plots.claim_plot(tested), plots.claim_alt(tested))
        display(HTML(verdict_table(tested)))

    def finish(self) -> None:
        """Check the claims, write the record and hold it to the committed one.

        The record goes to `TLIB_RESULTS` if set, else to the checkout's book/results/<profile>, else to the current
        folder. The committed record (in the folder `TLIB_COMMITTED`, else in the checkout) is replaced only if nothing
        but numbers moved, or with `TLIB_ACCEPT=1`.

        Raises ChapterError for a claim that was not tested, has no control or a confirmed one, and for a verdict or a
        declaration other than the committed record's.
        """
        problems = [problem for claim in self.claims.values() for problem in _problems(claim)]
        if problems or not self.claims:
            problems = problems or ["- it declares no claim: declare one with ch.claim(...) before training"]
            raise ChapterError("\n".join(["The chapter is not finished:", *problems]))
        record, name = self.record(), f"{self.slug}.json"
        target, committed = paths.results(self.profile) / name, _committed(self.profile, name)
        accept, known = os.environ.get("TLIB_ACCEPT") == "1", bool(committed and committed.exists())
        found = compare(record, read_record(committed)) if known and not accept else []
        decided = [difference for difference in found if difference.severity != "info"]
        failed = [difference for difference in found if difference.severity == "fail"]
        if target != committed or not decided:
            write_record(target, record)
        if accept and committed:
            write_record(committed, record)
        if failed:
            remedy = f"If this is meant, accept it with: tlib run {self.slug} --profile {self.profile} --accept"
            raise ChapterError("\n".join(["The record differs from the committed one:", *_lines(failed), remedy]))
        verdicts = "accepted" if accept else "as committed" if known else "not committed yet"
        print(f"{len(self.claims)} claims tested and recorded, their verdicts {verdicts}.", *_lines(decided), sep="\n")

    def record(self) -> dict[str, Any]:
        """The record of this run so far; RuntimeError if a claim was not tested yet."""
        return {
            "chapter": self.slug,
            "profile": self.profile,
            "threads": self.threads,
            "wall_s": round(time.perf_counter() - self.started, 1),
            **circumstances(self.device),
            "data": self.data,
            "notes": self.notes,
            "claims": [claim.to_record() for claim in self.claims.values()],
        }

    def _repr_markdown_(self) -> str:
        threads = f"{self.threads} thread" + "s" * (self.threads != 1)
        facts = {"Paper": self.paper, "Idea": self.idea, "Profile": f"{self.profile}, on {self.device.type}, {threads}"}
        facts["Data"] = ", ".join(f"`{name}`" for name in self.data)
        return "  \n".join([f"**{self.title}**", *(f"*{name}:* {fact}" for name, fact in facts.items() if fact)])


def _problems(claim: Claim) -> list[str]:
    if not claim.result:
        return [f"- claim {claim.id!r} was not tested: call its test(treatment, baseline)"]
    if not claim.control_result:
        return [f"- claim {claim.id!r} has no negative control: call its control(name, treatment, baseline)"]
    if claim.control_result.verdict == "confirmed":
        return [
            f"- claim {claim.id!r}: its control ({claim.control_name}) was confirmed, so the test sees an effect where "
            "there is none. Look for a leak, or for arms that differ in more than the claim says."
        ]
    return []


def _lines(differences: Iterable[Difference]) -> list[str]:
    return [f"- {found.severity}: {found.claim or 'record'}: {found.message}" for found in differences]


def _committed(profile: str, name: str) -> Path | None:
    if chosen := os.environ.get("TLIB_COMMITTED"):
        return Path(chosen) / name
    checkout = paths.root()
    return checkout / "book" / "results" / profile / name if checkout else None


def _check_profiles(what: str, names: Iterable[str]) -> None:
    if unknown := sorted(set(names) - set(PROFILES)):
        raise ValueError(f"{what} {', '.join(map(repr, unknown))}: use one of {', '.join(PROFILES)}")


def _default_profile() -> str:
    import torch

    return "colab" if torch.cuda.is_available() else "laptop"


def _prepare(profile: str, seed: int) -> tuple[torch.device, int]:
    """Seed every generator, ask for deterministic algorithms, one thread at laptop; returns device and threads."""
    import numpy as np
    import torch
    from threadpoolctl import threadpool_limits

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic
    device = torch.device("cuda" if profile != "laptop" and torch.cuda.is_available() else "cpu")
    if profile == "laptop":
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        torch.set_num_threads(1)
        threadpool_limits(1)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    # On a GPU some operations have no deterministic form: warn there, fail on a CPU.
    torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # a debugging aid that costs a tenth of an LSTM step
    return device, torch.get_num_threads()
