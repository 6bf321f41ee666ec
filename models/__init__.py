"""Features, scorers, training, forecasting. Arrays in, arrays out; knows no sockets."""
