"""Where clients are: locations, networks, travel. Arrays and records in, values out; knows no sockets."""
