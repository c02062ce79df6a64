"""What was learnt, in numbers."""
