"""Unit tests of ``state``."""
