"""The test suite; a package, so that tests and claims can share helpers."""
