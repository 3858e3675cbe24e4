"""Docker Swarm mode as a Python library."""
