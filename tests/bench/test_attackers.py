"""Starting attacks and counting what is open."""

import socket
from pathlib import Path

from bench.attackers import Force, attacking, held
from bench.sieges import SCENARIOS, Origin

HEADING = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LINE = "   {}: 0100007F:{} 0710107F:{} {} 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1\n"


def test_established_connections_to_the_port_are_counted(tmp_path: Path) -> None:
    """Not the clients' ends, not those that are closing, not those of other ports."""
    table = tmp_path / "tcp"
    ends = [("1F90", "C001", "01"), ("1F90", "C002", "01"), ("1F90", "C003", "06"), ("C001", "1F90", "01")]
    table.write_text(HEADING + "".join(LINE.format(number, *end) for number, end in enumerate(ends)))
    assert held(0x1F90, table) == 2


def test_an_attack_holds_its_connections_and_ends_with_the_block() -> None:
    """Its own process says what became of them."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        port = server.getsockname()[1]
        with attacking(SCENARIOS["idle"], Origin.MANY, port, Force(20, 60.0, None)) as attack:
            assert attack.gather() == attack.held() == 20
        assert attack.count is not None
        assert (attack.count.opened, attack.count.failed) == (20, 0)
        assert attack.opened_per_s > 0
