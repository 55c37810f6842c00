"""Visual Search at Alibaba (Zhang et al., KDD 2018, arXiv 2102.04674), reproduced."""

__version__ = "0.1.0"
