"""Rendering: a folder or file of an operator becomes one Release object, offline and always the same.

Owns everything between the operator's files and the object that is signed. Promises that nothing is fetched,
that the same files give the same bytes, and that a refusal names file and place. Never signs, never sends.
"""
