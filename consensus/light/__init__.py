"""Light verification: pure, no I/O, no clock."""
