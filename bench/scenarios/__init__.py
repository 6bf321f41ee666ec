"""A day at a keyserver in virtual time: clients, scrapers and vandals against the real policy code.

    Scenario (plan.py) -> populations of visitors (clients.py, vandals.py) -> Node (node.py) -> Tally -> table.py

There are no sockets, no processes and no waiting: a clock that jumps from one event to the next (clock.py) drives
the policy, the judge of what is in uploads, the classifier, the tables and the ladder of bans as they are in a worker
and in the analyst. Answers that are kept (replies.py) and the places of dear subjects (dear.py) follow a worker's.
So what the table says is what the limits do, and nothing of what a machine can carry; for that there is the rest of
`bench`. What a keyserver would have spent on the requests is reckoned with times that were measured (upstream.py).

Left out, because it bounds work and not who gets what: places of classes (turnstile), parked requests, connections,
and what dear answers are charged. Uploads are judged as a reader would have found them: one good certificate in each.
All draws come from one seed: two runs of the same code have the same outcome to the last request.
"""
