"""Notebook 03: mining, losses, boxes and features."""
