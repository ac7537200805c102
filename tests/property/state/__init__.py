"""Properties of ``state``."""
