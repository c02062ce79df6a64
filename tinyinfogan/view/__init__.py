"""What was learnt, in pictures."""
