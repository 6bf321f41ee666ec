"""Moves requests and runs the system."""
