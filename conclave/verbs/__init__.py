"""One file a verb of the command line; each holds ``command``."""
