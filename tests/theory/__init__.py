"""Tests of the theory core, each against something independent of it."""
