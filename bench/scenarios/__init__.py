"""A day at a keyserver in virtual time: clients, scrapers and vandals against the real policy code.

    Scenario (plan.py) -> populations of visitors (clients.py, vandals.py) -> Node (node.py) -> Tally -> table.py

There are no sockets, no processes and no waiting: a clock that jumps from one event to the next (clock.py) drives
the policy, the classifier, the table of clients and the ladder of bans as they are in a worker and in the analyst.
So what the table says is what the limits do, and nothing of what a machine can carry; for that there is the rest of
`bench`. What a keyserver would have spent on the requests is reckoned with times that were measured (upstream.py).

Left out, because it bounds work and not who gets what: places of classes (turnstile), parked requests, connections.
All draws come from one seed: two runs of the same code have the same outcome to the last request.
"""
