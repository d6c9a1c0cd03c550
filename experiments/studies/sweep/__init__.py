"""The coverage sweep."""
