"""Programs: Hydra applications over the theory, their results store, figures and claims."""
