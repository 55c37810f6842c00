"""Notebook 02: model, search and their fusion."""
