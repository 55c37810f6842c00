"""Paper section 3.3: the first results by appearance, re-ordered by quality."""
