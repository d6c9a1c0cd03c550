"""How fast suboptimality falls: the rate of (T1) on instances that never get easy, and on one that does.

    python -m experiments.rates

SPAC at the theorem's `λ*` on the family of `spac_theory/instances/local_family.py`. With gaps of order
`√(C/n)` the log-log slope is −1/2 and the curves of all coverages are one curve of `√(C/n)`. With a
fixed gap the signs become obvious: the local slope is steeper than any power.
"""

from experiments.common.program import launch

if __name__ == "__main__":
    launch("experiments.rates", "experiments.studies.rates:STUDY")
