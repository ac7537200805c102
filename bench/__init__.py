"""One file a figure, each a ratio against a named peer in one run; what is measured is never tuned here."""
