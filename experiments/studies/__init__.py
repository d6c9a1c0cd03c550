"""Studies: one question each, from cells to a table and a figure."""
