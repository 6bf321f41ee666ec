"""What the load asks and gets."""

import re

from bench import targets


def test_targets_are_thousands_of_distinct_fingerprints() -> None:
    """No cache of a proxy can answer them."""
    paths = targets.paths()
    assert len(set(paths)) == len(paths) == targets.COUNT
    assert all(re.fullmatch(r"/pks/lookup\?op=get&options=mr&search=0x[0-9A-F]{40}", path) for path in paths)


def test_the_body_has_the_promised_size_and_end() -> None:
    """2 KB, and the end by which the generator knows that an answer is complete occurs once."""
    body = targets.armored_body().encode()
    assert len(body) == targets.BODY_BYTES
    assert body.endswith(targets.BODY_END)
    assert body.count(targets.BODY_END) == 1
