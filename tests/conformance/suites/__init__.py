"""The suites of the conformance door: one file a suite, each with ``answer(case)``."""
