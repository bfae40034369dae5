"""The shared library of *Transfer Learning for Language, Re-created*.

A chapter holds the method of its paper; `tlib` holds only what two chapters would otherwise both write.
`import tlib` is quick: every submodule, and torch with it, is loaded at first use (PEP 562).
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlib.chapter import start as start

__version__ = "0.1.0"

_SUBMODULES = frozenset(module.name for module in iter_modules(__path__))


def __getattr__(name: str) -> Any:
    """Load `tlib.<module>` at first use; `tlib.start` stands for `tlib.chapter.start`."""
    if name == "start":
        return import_module("tlib.chapter").start
    if name in _SUBMODULES:
        return import_module(f"tlib.{name}")
    raise AttributeError(f"tlib has no {name!r}; it has start and the modules {', '.join(sorted(_SUBMODULES))}")


def __dir__() -> list[str]:
    return sorted({"__version__", "start", *_SUBMODULES})
