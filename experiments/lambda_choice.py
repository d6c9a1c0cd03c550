"""Suboptimality against `λ`, and where the theorem's `λ*` falls.

python -m experiments.lambda_choice
"""

from experiments.common.program import launch

if __name__ == "__main__":
    launch("experiments.lambda_choice", "experiments.studies.lambda_choice:STUDY")
