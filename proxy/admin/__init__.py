"""What the operator asks a running node, and its answers."""
