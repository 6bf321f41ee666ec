"""What is made of the answers of plugins that have a process of their own."""

from __future__ import annotations

import json

import pytest

from proxy.plugins.events import MOST_TEXT
from proxy.plugins.instance import Hosted, PluginFailure
from proxy.plugins.wire import Reply


@pytest.mark.parametrize(
    ("answer", "words"),
    [("{", "EOF"), ('{"looks": 7}', "looks: "), (json.dumps({"\x1b\n" + "x" * 10_000: 1}), "is unknown|xxx")],
)
def test_answer_that_is_not_allowed(answer: str, words: str) -> None:
    """It is told in one line, however long the names are that the plugin has made up."""
    hosted = Hosted("nowhere:Nothing", call_ns=1, memory_bytes=1)
    with pytest.raises(PluginFailure, match=words) as caught:
        hosted._read(Reply, answer.encode())
    assert len(str(caught.value)) <= MOST_TEXT + len("answers what is not allowed: ")
    assert str(caught.value).isprintable()
