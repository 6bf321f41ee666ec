"""Limits, checks and verdicts: plain synchronous code."""
