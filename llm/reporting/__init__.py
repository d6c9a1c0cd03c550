"""What a person sees of a run on held-out rows: table, figures, answers side by side, a page."""
