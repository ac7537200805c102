"""The audit of calls: signed, chained, anchored records of what was asked and what came of it.

``records``, ``links``, ``walk``, ``digests`` and ``siem`` are pure; ``files``, ``writer``, ``keeper`` and
``anchoring`` are the edge. Source: docs/spec/mcp-audit.md.
"""
