"""A reward from a reproducing kernel Hilbert space: smooth in the coordinates of `(x, a)`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from spac_theory.bandit.contextual import ContextualBandit
from spac_theory.checks import InputError
from spac_theory.keys import generator
from spac_theory.options import Options, checked, choice, integer, number
from spac_theory.problems import PROBLEMS, Problem, uniform_profile
from spac_theory.rewards.kernel import KERNELS, KernelClass, check_smoothness, make_kernel


@PROBLEMS.register("kernel")
@dataclass(frozen=True)
class Kernel(Options):
    """`r* = Σ α_i k(z_i, ·)` of norm 1 at random points `z(x,a)` of the unit cube."""

    contexts: int = integer(12, "contexts X")
    actions: int = integer(6, "actions A, at least 2", low=2)
    coordinates: int = integer(2, "dimension of the cube")
    kernel: str = choice("rbf", "rbf, matern or polynomial", KERNELS)
    length: float = number(0.5, "length scale of rbf and matern", low=1e-9, high=1e15)
    smoothness: float = checked(1.5, "of matern: 0.5, 1.5 or 2.5", check_smoothness)
    degree: int = integer(2, "of polynomial")
    norm_bound: float = number(1.0, "bound B of the class, at least 1: the truth has norm 1", low=1)
    seed: int = integer(0, "draws points and reward", low=0)

    def build(self) -> Problem:
        """Draw points and a reward of norm 1."""
        options: dict[str, dict[str, float]] = {
            "rbf": {"length": self.length},
            "matern": {"length": self.length, "smoothness": self.smoothness},
            "polynomial": {"degree": self.degree},
        }
        rng = generator("problem", "kernel", self.seed)
        points = torch.as_tensor(rng.uniform(0, 1, (self.contexts, self.actions, self.coordinates)))
        kernel = make_kernel(self.kernel, **options[self.kernel])
        shape_of_kernel = "-".join(f"{value:g}" for value in options[self.kernel].values())
        size = f"{self.contexts}x{self.actions}x{self.coordinates}"
        cls = KernelClass.of(points, kernel, self.norm_bound)
        # Random kernel sections, not a random direction: the sections weigh the leading
        # eigendirections, so the reward is as smooth as the kernel.
        centres = torch.as_tensor(rng.standard_normal(self.contexts * self.actions))
        theta = torch.einsum("z,zd->d", centres, cls.features.flatten(0, 1))
        shape = (self.contexts, self.actions)
        spread = cls.features @ (theta / theta.norm())
        if not float((spread.amax(-1) - spread.amin(-1)).max()) > 1e-9:
            raise InputError(
                f"length is {self.length:g}; with it the {self.kernel} kernel tells no two actions apart, so "
                "take one nearer to the distances between points, which lie in [0, 1]."
            )
        bandit = ContextualBandit(
            rho=torch.full((self.contexts,), 1 / self.contexts, dtype=torch.float64),
            features=cls.features,
            reward=cls.features @ (theta / theta.norm()),
            name=f"kernel-{self.kernel}-{shape_of_kernel}-{size}-{self.seed}",
        )
        assert math.isfinite(cls.difference_bound)
        return Problem(bandit, cls, uniform_profile(*shape))
