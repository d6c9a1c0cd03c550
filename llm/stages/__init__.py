"""The stages of a run directory, one file each, and the directory that holds them."""
