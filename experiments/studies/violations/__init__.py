"""What the study of violations is made of."""
