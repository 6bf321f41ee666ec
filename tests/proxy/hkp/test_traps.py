"""What is a trap, and what is not."""

import pytest

from proxy.hkp.endpoints import SEARCH_PARAMETERS
from proxy.hkp.operation import STATIC_PREFIXES, Classifier, ClassifierOptions
from proxy.hkp.traps import TRAP_PATHS, canary_subjects

V4 = "8275F7C6C2EC77A99DCD64FB03ABB900BF91A610"
V6 = "CB186C4F0609A697E4D52DFA6C722B0C1F1E27C18A56708F6525EC27BAD9ACC9"
trapping = Classifier(ClassifierOptions(trap_prefixes=TRAP_PATHS))


@pytest.mark.parametrize(
    ("target", "trap"),
    [
        ("/.env", True),
        ("/.ENV.local", True),
        ("/%2eenv", True),
        ("//wp-admin/setup.php?step=1", True),
        ("/wp-login.php", True),
        ("/x/../.git/config", True),
        ("/", False),
        ("/favicon.ico", False),
        ("/robots.txt", False),
        ("/x/.env", False),
        ("/pks/lookup?op=get&search=/.env", False),
        ("/pks/.env", False),
        ("/.well-known/openpgpkey/policy", False),
        ("/.well-known/security.txt", False),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_traps_are_found_in_every_spelling(method: str, target: str, *, trap: bool) -> None:
    """A path is looked at in its canonical form, whatever the method; what a keyserver has is never a trap."""
    assert trapping(method, target).trap is trap


def test_traps_are_unknown_paths() -> None:
    """Where unknown paths pass it is for the judge to say what becomes of a trap."""
    passing = Classifier(ClassifierOptions(trap_prefixes=TRAP_PATHS, pass_unknown=True))
    assert (passing("GET", "/.env").refusal, passing("GET", "/.env").trap) == (0, True)


def test_without_traps_nothing_is_one() -> None:
    """An operator may do without."""
    assert not Classifier(ClassifierOptions())("GET", "/.env").trap


@pytest.mark.parametrize(
    "path",
    [*STATIC_PREFIXES, *SEARCH_PARAMETERS, "/pks/add", "/pks/hashquery", "/vks/v1/upload", "/manage", "/verify/x"],
)
def test_no_path_of_a_keyserver_is_a_trap(path: str) -> None:
    """The built-in traps leave every page and endpoint alone."""
    assert not any(path.startswith(trap) for trap in TRAP_PATHS)


@pytest.mark.parametrize(
    ("search", "subjects"),
    [
        (f"0x{V4}", {V4, V4[-16:]}),
        (V4.lower(), {V4, V4[-16:]}),
        (V6, {V6, V6[:16]}),
        ("0x03ABB900BF91A610", {"03ABB900BF91A610"}),
        ("Canary@Example.ORG", {"canary@example.org"}),
        ("<>", set()),
    ],
)
def test_canaries_are_known_under_all_their_names(search: str, subjects: set[str]) -> None:
    """A certificate is found by its fingerprint and by its key id, an identity in any case."""
    assert canary_subjects([search]) == subjects
