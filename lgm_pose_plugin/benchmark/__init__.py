"""Time networks against each other."""
