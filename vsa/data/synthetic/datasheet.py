"""The datasheet of the synthetic shop, rendered in notebook 01."""

DATASHEET = """\
### What it is
A shop drawn by a program.
"""
