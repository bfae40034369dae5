"""What every test runs under: one thread, no window, the same hypothesis examples each time."""

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # two pytest workers share two cores
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "agg")

from hypothesis import settings  # noqa: E402 - the variables have to stand before torch is loaded

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
