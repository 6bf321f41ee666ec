"""What may stand in an answer of a plugin."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.plugins.wire import Reply


@pytest.mark.parametrize("pattern", ["*", "ban.*", "ban.placed"])
def test_subscriptions(pattern: str) -> None:
    """Events are wanted by their kind, by their family, or all."""
    assert Reply.model_validate({"subscriptions": [pattern]}).subscriptions == (pattern,)


@pytest.mark.parametrize("pattern", ["", "[a-z]*", "a*b*", "ban.*\n", "x." + "y" * 63])
def test_no_other_subscriptions(pattern: str) -> None:
    """A pattern is matched with each event that there is: it is short, and has no more than one star."""
    with pytest.raises(ValidationError):
        Reply.model_validate({"subscriptions": [pattern]})
