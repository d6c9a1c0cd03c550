"""The diagnosis of recorded comparisons."""
