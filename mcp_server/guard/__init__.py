"""The judgement of every call and every answer, before and after: pure, in bounded time and memory.

Source: docs/spec/mcp-guard.md.
"""
