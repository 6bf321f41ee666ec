"""What settings are made of: kinds of values, sources, limits, checks; `proxy/config.py` combines them."""
