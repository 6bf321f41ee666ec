"""The commands of an operator, the access log and the metrics, against a running guard."""

from __future__ import annotations

import json
import re
import shlex
import signal
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from tests.integration.gnupg import gnupg
from tests.integration.guard import Guard, environ, hkpguard
from tests.integration.http_client import Question, ask
from tests.integration.keyserver import ok
from tests.integration.programs import alive, free_port, run, until

if TYPE_CHECKING:
    from tests.integration.conftest import Need, StartGuard, StartKeyserver


CLIENT = "127.0.0.77"
FINGERPRINT = 40 * "A"
CERT = Question(f"/pks/lookup?op=get&options=mr&search=0x{FINGERPRINT}")
MAIL = Question("/pks/lookup?op=get&options=mr&search=alice@example.org")
WORDS = Question("/pks/lookup?op=index&options=mr&search=somebody")
# The names that dashboards are built on: DESIGN.md, section 4.
METRICS = (
    "hkpguard_requests_total",
    "hkpguard_responses_total",
    "hkpguard_decision_seconds_bucket",
    "hkpguard_added_seconds_bucket",
    "hkpguard_upstream_seconds_bucket",
    "hkpguard_delayed_seconds_bucket",
    "hkpguard_connections",
    "hkpguard_tarpit_held",
    "hkpguard_table_used",
    "hkpguard_table_evictions_total",
    "hkpguard_records_lost_total",
    "hkpguard_build_info",
)


@pytest.fixture
def guarded(start_guard: StartGuard, start_keyserver: StartKeyserver) -> Guard:
    """Run a guard whose second request for a mail address is refused, and for a certificate waits half a second."""
    limits = {"LIMITS__IDENTITY__BURST": "1", "LIMITS__CERT__BURST": "1", "LIMITS__CERT__COUNT": "2"}
    return start_guard(start_keyserver(ok).url, **limits)


def await_records(guarded: Guard, count: int, client: str = CLIENT) -> None:
    """Wait until the analyst has read what the workers recorded."""
    until(lambda: len(guarded.client(client)["last"]) >= count, "the analyst has read the records")


def test_version() -> None:
    """The command tells which one is installed."""
    assert hkpguard(environ({}), "--version") == (0, f"{version('hkpguard')}\n", "")


def test_check_prints_the_configuration() -> None:
    """What `check` prints is an environment that gives the same again; what differs from the defaults is marked."""
    settings = {"UPSTREAM": "http://127.0.0.1:1", "LIMITS__CERT__BURST": "77"}
    status, out, err = hkpguard(environ(settings), "check")
    assert (status, err) == (0, "")
    assert "# default: 60\nHKPGUARD_LIMITS__CERT__BURST=77\n" in out
    printed = dict(line.split("=", 1) for line in out.splitlines() if not line.startswith("#"))
    assert hkpguard(environ({}) | printed, "check") == (0, out, "")


def test_check_reports_all_faults_at_once() -> None:
    """Each fault is named, with what was given and what is allowed; `serve` says the same and opens nothing."""
    settings = {"LISTEN": "nowhere", "WORKERS": "0", "LIMITS__CERT__BURST": "many", "NONSENSE": "1"}
    status, out, err = hkpguard(environ(settings), "check")
    assert (status, out) == (1, "")
    assert all(f"HKPGUARD_{name}" in err for name in settings)
    assert len(err.splitlines()) == len(settings)
    status, _, again = hkpguard(environ(settings | {"UPSTREAM": "http://127.0.0.1:1"}), "serve")
    assert (status, again) == (1, err)


def test_serve_says_what_it_needs() -> None:
    """Without a keyserver, or where the port is taken, `serve` ends with a sentence and not with a traceback."""
    status, _, err = hkpguard(environ({}), "serve")
    assert status == 1
    assert "HKPGUARD_UPSTREAM" in err


def test_port_that_is_taken(guarded: Guard) -> None:
    """A second guard with the same addresses does not start, and the first goes on."""
    status, _, err = guarded.command("serve")
    assert status == 1
    assert "cannot listen" in err
    assert "Traceback" not in err
    assert ask(guarded.port, CERT).status == 200


def test_explain(guarded: Guard) -> None:
    """`explain` shows the limits of a client as they are, and what was decided about it."""
    assert [ask(guarded.port, MAIL, CLIENT).status for _ in range(3)] == [200, 429, 429]
    assert ask(guarded.port, CERT, CLIENT).status == 200
    await_records(guarded, 4)
    status, out, err = guarded.command("explain", CLIENT, "--json")
    assert (status, err) == (0, "")
    answer = json.loads(out)
    assert (answer["client"], answer["known"]) == (CLIENT, True)
    limits = {each["limit"]: each for each in answer["limits"]}
    assert limits["identity"]["remaining"] == 0
    assert limits["words"]["remaining"] == 10
    verdicts = [(each["operation"], each["action"], each["status"]) for each in answer["last"]]
    refused = ("identity", "limit", 429)
    assert sorted(verdicts) == [("cert", "allow", 200), ("identity", "allow", 200), refused, refused]
    status, out, _ = guarded.command("explain", CLIENT)
    assert status == 0
    assert re.search(r"identity\W+enforce\W+1\W", out)


def test_explain_a_stranger(guarded: Guard) -> None:
    """Who was never seen has full buckets; what is no address is a fault of the asker."""
    status, out, _ = guarded.command("explain", "2001:db8::1", "--json")
    answer = json.loads(out)
    assert status == 0
    assert (answer["client"], answer["known"], answer["last"]) == ("2001:db8::/64", False, [])
    assert all(each["remaining"] == each["burst"] for each in answer["limits"])
    status, _, err = guarded.command("explain", "somebody")
    assert status == 1
    assert "not an IP address" in err


def test_commands_without_an_instance() -> None:
    """`explain` and `top` say that nobody answers, and where they have asked."""
    admin = f"127.0.0.1:{free_port()}"
    for command in (("explain", CLIENT), ("top", "--once")):
        status, _, err = hkpguard(environ({"ADMIN": admin}), *command)
        assert status == 1
        assert admin in err
        assert "Traceback" not in err


def test_top(guarded: Guard) -> None:
    """`top --once` shows who asks most, what was done about it, and the keyserver."""
    for _ in range(3):
        ask(guarded.port, MAIL, CLIENT)
    ask(guarded.port, CERT, "127.0.0.78")
    await_records(guarded, 3)
    await_records(guarded, 1, "127.0.0.78")
    status, out, err = guarded.command("top", "--once")
    assert (status, err) == (0, "")
    assert re.search(rf"{CLIENT}\W+3\W+2\W", out)
    assert re.search(r"127.0.0.78\W+1\W+0\W", out)
    assert re.search(r"identity\W+limit\W+2\W", out)
    assert re.search(r"127.0.0.1:\d+ up", out)


def test_top_of_networks_and_subjects(guarded: Guard) -> None:
    """`top --by` shows the same of networks, and of subjects by a hash, half a second later."""
    for _ in range(3):
        ask(guarded.port, MAIL, CLIENT)
    ask(guarded.port, MAIL, "127.0.0.78")

    def shown(by: str) -> str:
        status, out, err = guarded.command("top", "--once", "--by", by)
        assert (status, err) == (0, "")
        return out

    until(lambda: re.search(r"127\.0\.0\.0/24\W+4\W+1\W+0%\W+50%", shown("network")), "the network is known")
    assert re.search(r"[0-9a-f]{16}\W+identity\W+4\W+2\W+0%\W+50%", shown("subject"))
    assert "alice" not in shown("subject")
    status, _, err = guarded.command("top", "--once", "--by", "colour")
    assert status == 2
    assert "colour" in err


def test_metrics_have_their_names(guarded: Guard) -> None:
    """All promised metrics are there, count what happened, and never name a client."""
    statuses = [ask(guarded.port, question, CLIENT).status for question in (MAIL, MAIL, WORDS, *[CERT] * 3)]
    assert statuses == [200, 429, 200, *[200] * 3]
    guarded.await_metric("decision_seconds_count", len(statuses))
    metrics = guarded.metrics()
    names = {name.partition("{")[0] for name in metrics}
    assert set(METRICS) <= names
    assert metrics['hkpguard_requests_total{action="limit",operation="identity"}'] == 1
    delayed = metrics['hkpguard_requests_total{action="delay",operation="cert"}']
    assert 1 <= delayed <= 2
    assert metrics["hkpguard_delayed_seconds_count"] == delayed
    assert metrics['hkpguard_responses_total{code="429"}'] == 1
    assert metrics['hkpguard_upstream_seconds_count{operation="words"}'] == 1
    assert metrics["hkpguard_table_used"] == 1
    assert not any(CLIENT in name for name in metrics)


def test_access_log_has_no_personal_data(guarded: Guard) -> None:
    """One line for each request; neither the address nor what was searched for is in it."""
    for question in (MAIL, MAIL, CERT):
        ask(guarded.port, question, CLIENT)
    until(lambda: len(guarded.access_log()) == 3, "three lines are written")
    text = guarded.program.out() + guarded.program.err()
    assert not re.search(rf"{CLIENT}|alice|{FINGERPRINT}", text, re.IGNORECASE)
    lines = guarded.access_log()
    seen = [(line["operation"], line["action"], line["status"]) for line in lines]
    assert sorted(seen) == [("cert", "allow", 200), ("identity", "allow", 200), ("identity", "limit", 429)]
    assert {line["network"] for line in lines} == {"127.0.0.0/24"}
    assert all({"time", "request_id", "wait_ms", "upstream_ms", "total_ms"} <= line.keys() for line in lines)


def test_access_log_has_what_is_asked_for(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """Addresses and subjects appear if the operator wants them; the request id is the client's and the keyserver's."""
    server = start_keyserver(ok)
    guarded = start_guard(server.url, LOG__ADDRESSES="on", LOG__SUBJECTS="on", LIMITS__IDENTITY__BURST="1")
    replies = [ask(guarded.port, question, CLIENT) for question in (MAIL, CERT, MAIL)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    until(lambda: len(guarded.access_log()) == 3, "three lines are written")
    lines = {(line["operation"], line["status"]): line for line in guarded.access_log()}
    mail, cert, refused = lines["identity", 200], lines["cert", 200], lines["identity", 429]
    assert (mail["address"], mail["subject"]) == (CLIENT, "alice@example.org")
    assert cert["subject"].upper() == FINGERPRINT
    assert [each.asked.fields["X-Request-ID"] for each in server.log] == [mail["request_id"], cert["request_id"]]
    assert replies[2].fields["x-request-id"] == refused["request_id"]


def test_access_log_can_be_switched_off(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """No line is written, and the analyst knows what happened all the same."""
    guarded = start_guard(start_keyserver(ok).url, LOG__ACCESS="off")
    ask(guarded.port, CERT, CLIENT)
    await_records(guarded, 1)
    assert guarded.access_log() == []


def test_demo(need: Need, start_guard: StartGuard) -> None:
    """What `hkpguard demo` prints to try can be tried, as it stands."""
    need("gpg", "dirmngr")
    need("curl")
    demo = start_guard()
    hints = [shlex.split(line) for line in demo.program.err().splitlines() if line.startswith("  ")]
    gpgs = [words[words.index("hkp://" + f"127.0.0.1:{demo.port}") + 1 :] for words in hints if words[0] == "gpg"]
    curls = [words[1:] for words in hints if words[0] == "curl"]
    assert (len(gpgs), len(curls)) == (2, 2)
    with gnupg(demo.keyserver) as gpg:
        for arguments in gpgs:
            gpg.done(*arguments)
    for arguments in curls:
        done = run("curl", "--silent", "--fail", *arguments)
        assert done.returncode == 0, arguments
        assert done.stdout


def test_demo_ends_with_its_keyserver(start_guard: StartGuard) -> None:
    """One Ctrl-C ends the guard and the keyserver behind it."""
    demo = start_guard()
    keyserver = demo.pid("demo")
    demo.program.send(signal.SIGINT)
    assert demo.program.wait(5) == 0
    until(lambda: not alive(keyserver), "the keyserver has ended")
