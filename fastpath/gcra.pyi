"""GCRA in C; the same answers as `_gcra_py.py`, which is its specification and explains it."""

from fastpath._gcra_py import MAX_BURST as MAX_BURST
from fastpath._gcra_py import MAX_DELAY_NS as MAX_DELAY_NS
from fastpath._gcra_py import MAX_OFFSET_NS as MAX_OFFSET_NS
from fastpath._gcra_py import MAX_PERIOD_NS as MAX_PERIOD_NS
from fastpath._gcra_py import Decision as Decision
from fastpath._gcra_py import Limit as Limit
from fastpath._gcra_py import Mode as Mode

def spend(limit: Limit, tat_ns: int, cost: int, now_ns: int) -> Decision:
    """Take `cost` tokens from the bucket in state `tat_ns`; see `_gcra_py.spend`.

    Raises:
        ValueError: cost not in 0..limit.burst.
        OverflowError: a time beyond int64.

    """

def refund(limit: Limit, tat_ns: int, cost: int, now_ns: int) -> int:
    """Return the state after `cost` unused tokens came back; see `_gcra_py.refund`.

    Raises:
        ValueError: cost not in 0..limit.burst.
        OverflowError: a time beyond int64.

    """

def shift(tat_ns: int, delta_ns: int, most_ns: int, now_ns: int) -> int:
    """Return the state after something was spent, or given back, elsewhere; see `_gcra_py.shift`.

    Raises:
        ValueError: `delta_ns`, `most_ns` or `now_ns` out of range.
        OverflowError: a time beyond int64.

    """
