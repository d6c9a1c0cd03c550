"""A file a kind of results, and what they share: `kind`, `tidy` rows, `paired` differences, `answers`.

`experiments.reporting.sources` lists the kinds in the order of trying.
"""
