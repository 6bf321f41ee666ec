"""The request path: heads, client side, upstream side, client address, refusals."""
