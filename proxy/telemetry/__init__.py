"""Records, counters, metrics and logs."""
