"""Models: loading them and their log-probabilities."""
