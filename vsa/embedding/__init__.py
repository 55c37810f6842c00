"""Features and boxes learned from clicks (paper section 3.2)."""
