"""Private keys and the subjects they speak for."""
