"""Campaigns: long, seeded attacks on the whole, run with ``make campaign-…``, in small by the tests."""
