"""The whole path, end to end: published, timed, taken apart (paper section 4)."""
