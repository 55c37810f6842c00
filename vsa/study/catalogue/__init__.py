"""Notebook 01: the data set, its selection and its click log."""
