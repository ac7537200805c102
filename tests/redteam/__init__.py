"""Attacks: lying nodes over a real socket, hostile quorums, and any bytes where a file is expected."""
