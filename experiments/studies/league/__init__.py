"""The league: every algorithm on the same data, with an equal tuning budget."""
