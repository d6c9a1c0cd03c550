"""A file a kind of results; `experiments.reporting.sources` lists them in the order of trying."""
