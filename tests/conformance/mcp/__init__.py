"""The public conformance suite of the Model Context Protocol, against our server with its fixtures."""
