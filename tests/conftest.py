"""What every test runs under: one thread, no hub, no screen, reproducible examples."""

import os

# Before anything imports torch: its spinning threads are many times slower than one on busy cores.
os.environ.update(
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    HF_HUB_OFFLINE="1",
    MPLBACKEND="Agg",
)

from hypothesis import HealthCheck, settings

# Time limits are pytest-timeout's business: a deadline per example fails on a busy machine.
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
# A fresh search, for an evening: pytest --hypothesis-profile=thorough
settings.register_profile("thorough", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile("ci")
