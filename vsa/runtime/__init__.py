"""What every stage shares: paths, profiles, seeds, device and precision, progress, errors."""
