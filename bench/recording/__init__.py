"""Traffic of real programs against a real keyserver, recorded: `python -m bench record --out DIR`.

    program ──> relay (one for each run: its address, its distance) ──> hkpguard ──> onak

What it leaves in DIR:

    runs.jsonl               one line for each run: who it was, what it did, from which addresses, from when to when
    access-shadow.jsonl      the access log of a guard that refuses nobody: behaviour as it is
    access-enforce.jsonl     that of a guard with its defaults: behaviour of who is delayed and refused

The plan, with all tools and who is only for tests, is in catalogue.py.
"""
