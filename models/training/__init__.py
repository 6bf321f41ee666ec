"""Training: from records to a table of features, from the table to models, and what these are worth.

    records + who sent them -> table.py -> fit.py (trees, forest) -> trees.py (ONNX) -> manifests
                                        -> calibration.py, evaluation.py
    texts.csv.gz -> letters.py (linear) -> ONNX

`python -m models.training train` makes the models that are shipped, bit for bit, of the tables beside them;
`evaluate` says what they find and what they miss. Its libraries (the extra `train`) are imported here and nowhere
else, and only when something is trained: the guard runs without them.
"""
