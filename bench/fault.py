"""What goes wrong with a measurement."""


class MeasurementError(RuntimeError):
    """What was measured would mean nothing; the text says why, in the words that follow "not measured"."""
