"""The demonstration: the whole story on real parts, each step a check that can fail."""
