"""Notebook 07: the works that the paper builds on and is compared with, on the same photos."""
