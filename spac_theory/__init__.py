"""Exact offline preference optimisation in contextual bandits: the theory half of the laboratory."""
