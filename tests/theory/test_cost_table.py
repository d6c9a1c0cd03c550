"""The table of costs: every setting is the one its row names, and the page is made of the numbers."""

import pytest
import torch

from benchmarks.cost_table import CLASSES, Size, game_of, measured, page


@pytest.mark.parametrize("kind", CLASSES)
def test_a_game_has_the_size_its_row_names(kind):
    game = game_of(kind, Size(X=3, A=4, d=5, S=2, n=1000))
    assert game.reward_class.shape == (3, 4)
    assert game.data.n.tolist() == [1000, 1000]
    parameters = {"linear": 5, "kernel": 5, "finite": 5, "table": 12}[kind]
    members = getattr(game.reward_class, "members", None)
    found = len(members) if members is not None else game.reward_class.dimension
    assert abs(found - parameters) <= 1  # a kernel's eigenvectors come as its length lets them
    assert torch.equal(game.lam, torch.full((2,), 1000.0, dtype=torch.float64).sqrt())


def test_the_page_has_a_row_for_every_setting():
    axes = {"X": (2,), "d": (2, 3), "n": (10, 10**9)}
    text = page(measured(axes, Size(X=2, A=3, d=2, S=2, n=10)), axes)
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    assert rows[2:] == ["X = 2", "d = 2", "d = 3", "n = 1e+01", "n = 1e+09"]
    assert "{" not in text
