"""What algorithms share: λ rules, baselines, likelihoods, optimisers, games and online loops."""
