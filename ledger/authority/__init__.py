"""Who may do what, and what a change needs to pass. Source: docs/spec/authority.md."""
