"""Where visitors live: in networks that are reserved, and of which no configuration says anything by default."""

from random import Random
from typing import Final

UNIVERSITY: Final = bytes([198, 18])
HOMES: Final = 243  # first byte of the lines of people at home
MANY: Final = 241  # of the many networks of one scraper
MANY_NETWORK: Final = f"{MANY}.0.0.0/8"
CLOUD: Final = 114  # of machines for rent, beside those of that scraper
CLOUD_NETWORK: Final = "203.0.114.0/24"
TOR: Final = 242
TOR_NETWORK: Final = f"{TOR}.0.0.0/8"
TOR_EXITS: Final = 1000
EXITS_IN_A_24: Final = 4
SCRAPER_48: Final = bytes.fromhex("20010db80bad")


def in_24(network: int, host: int) -> bytes:
    """Return an address of one of the networks 203.0.`network`.0/24."""
    return bytes([203, 0, network, host])


def in_networks(first: int, number: int, host: int = 7) -> bytes:
    """Return an address in /24 `number` (0..65,535) of the networks with that first byte."""
    return bytes([first, number >> 8, number & 255, host])


def home(number: int) -> bytes:
    """Return the address of somebody at home: a provider puts forty customers into a /24."""
    return in_networks(HOMES, number // 40, 10 + number % 40)


def tor_exit(random: Random, first: int = 0, last: int = TOR_EXITS) -> bytes:
    """Return an exit, any from `first` to before `last`, of TOR_EXITS."""
    number = random.randrange(first, last)
    return in_networks(TOR, number // EXITS_IN_A_24, 1 + number % EXITS_IN_A_24)


def new_64(number: int) -> bytes:
    """Return an address in the next /64 of one /48, which has 65,536."""
    return SCRAPER_48 + (number & 0xFFFF).to_bytes(2) + bytes(7) + b"\x01"
