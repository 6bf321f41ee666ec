"""How long a process works at a stretch while others wait for its core."""

def shorten_slice(ns: int) -> bool:
    """Ask for slices of so many ns for this thread, and those that it begins; from 100,000 to 100,000,000.

    Returns:
        Whether it was asked for: not if that is denied, nor if an operator has put the thread into another class, in
        which it stays. Before Linux 6.12 it changes nothing.

    Source: sched_setattr(2); EEVDF, Documentation/scheduler/sched-eevdf.rst in the sources of Linux.

    """
