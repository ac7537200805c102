"""The shared words of the ledger: what is signed, who may say it, what is refused and why.

Imports nothing else of ours, performs no I/O, reads no clock.
"""
