"""How often the theorem fails on random realizable instances, and how loose it is.

    python -m experiments.violations

Every instance has its own truth, behaviour, sample size, `λ` and data; a group of them shares a
class. For each: the bound (T1) at the instance's own `λ` and certified gap, the same with the
textbook constant `κ²` in place of `4κ`, and the event (H) of the proof. The theorem allows each to
fail with probability `δ`.
"""

from experiments.common.program import launch

if __name__ == "__main__":
    launch("experiments.violations", "experiments.studies.violations:STUDY")
