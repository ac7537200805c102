"""What holds of the MCP server for any input."""
