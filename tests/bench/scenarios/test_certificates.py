"""What is asked for."""

from collections import Counter
from random import Random

import pytest

from bench.scenarios.certificates import Certificates, gpg_get, mail_get, mail_search, thunderbird_get
from proxy.hkp.classes import OperationClass
from proxy.hkp.operation import Classifier, ClassifierOptions

CLASSIFY = Classifier(ClassifierOptions())


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    """Return all that there are."""
    return _drawn()


def _drawn() -> Certificates:
    return Certificates(Random(1))  # noqa: S311 - the same in every run


def test_popularity_follows_zipf(certificates: Certificates) -> None:
    """The first is wanted about twice as often as the second and ten times as often as the tenth."""
    wanted = Counter(certificates.popular(200_000))
    first, second, *_ = (wanted[each] for each in certificates.most_popular(10))
    tenth = wanted[certificates.most_popular(10)[-1]]
    assert 1.8 < first / second < 2.2
    assert 8 < first / tenth < 12


def test_a_keyring_has_each_certificate_once_and_some_that_nobody_else_has(certificates: Certificates) -> None:
    """Two people share the popular ones only."""
    mine, yours = certificates.keyring(100), certificates.keyring(100)
    assert len(set(mine)) == len(mine) == 100
    assert len(set(mine) - set(certificates.most_popular(50_000))) == 20
    assert 0 < len(set(mine) & set(yours)) <= 80


def test_two_worlds_are_alike() -> None:
    """The seed decides everything."""
    mine, yours = _drawn(), _drawn()
    assert [mine.rare(), *mine.keyring(9), mine.new()] == [yours.rare(), *yours.keyring(9), yours.new()]


@pytest.mark.parametrize("get", [gpg_get, thunderbird_get])
def test_gets_are_gets(certificates: Certificates, get: type[str]) -> None:
    """The classifier reads the same fingerprint from all programs' spellings."""
    fingerprint = certificates.rare()
    operation = CLASSIFY("GET", get(fingerprint))
    assert (operation.kind, operation.subject) == (OperationClass.CERT, fingerprint)


@pytest.mark.parametrize("search", [mail_get, mail_search])
def test_searches_for_people_are_such(certificates: Certificates, search: type[str]) -> None:
    """The subject is the address."""
    address = certificates.mail_address()
    operation = CLASSIFY("GET", search(address))
    assert (operation.kind, operation.subject) == (OperationClass.IDENTITY, address)
