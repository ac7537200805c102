"""The bridge beside every cluster: believes only what is verified, plans, applies, reports.

Owns everything that speaks to Kubernetes. Promises that what was signed is what is applied, that nothing
unowned is touched, and that a fault never tears down what runs. Never falls back to unverified state.
"""
