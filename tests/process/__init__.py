"""Tests that start processes, open sockets or wait in real time; no CometBFT, no API server."""
