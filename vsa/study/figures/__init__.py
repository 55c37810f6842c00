"""The house style of figures, and those that several notebooks share."""
