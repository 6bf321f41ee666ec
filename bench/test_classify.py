"""What classification costs: run with `pytest bench/test_classify.py`."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from proxy.hkp.operation import Classifier, ClassifierOptions

FPR = "740D7FE2AB3143E86C8FD12300186602339240CB"
TARGETS = {
    "gpg get": f"/pks/lookup?op=get&options=mr&search=0x{FPR}",
    "thunderbird get": f"/pks/lookup?search=0x{FPR}&op=get&options=mr",
    "identity": "/pks/lookup?op=index&options=mr&fingerprint=on&search=someone@example.org",
    "evasive words": "/PKS/%6cookup?search=alice+liddell&op=%69ndex",
    "vks": f"/vks/v1/by-fingerprint/{FPR}",
    "page": "/assets/site.css",
    "probe": "/wp-login.php",
    "8 KB of escapes": "/pks/lookup?op=get&search=" + "%C3%A9" * 1340,
}


@pytest.mark.parametrize("name", TARGETS)
def test_classify(benchmark: BenchmarkFixture, name: str) -> None:
    """One call for one request of this kind."""
    classify = Classifier(ClassifierOptions())
    assert benchmark(classify, "GET", TARGETS[name]).target
