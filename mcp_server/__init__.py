"""What a model may see and ask for: proven reads and proposals over the Model Context Protocol.

Owns everything that speaks MCP. Promises that whatever comes in is judged by the guard before anything is
done with it. Never approves, never touches Kubernetes, never reads a state that is not verified.
"""
