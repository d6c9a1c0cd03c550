"""Methods: what is trained in a round, one file each."""
