"""Draw skeletons and save plots."""
