"""Contextual bandits, preferences between their actions, and budgeted access to labels."""
