"""x."""

from tests.proxy.http.conftest import Start
from tests.proxy.http.harness import get, ok


async def test_a(start: Start) -> None:
    """X."""
    node = await start()
    got, reply = await node.ask(get(), ok())
    print(got, reply)
    assert reply.status == 200
    print(node.records(), node.parked, node.open)
