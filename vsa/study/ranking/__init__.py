"""Notebook 05: what re-ranking by quality does."""
