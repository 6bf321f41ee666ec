"""Plugins: the contract, those that are built in, the processes of the others, and the event bus."""
