"""What people do with GnuPG and what is built on it."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

from bench.recording.session import Done, Session
from bench.recording.world import Person

UNKNOWN_SHARE = 1 / 3  # of a keyring: never uploaded, or only to another keyserver


async def _gpg(session: Session, home: Path, *arguments: str) -> Done:
    return await session.run("gpg", "--homedir", home, "--batch", "--no-auto-check-trustdb", *arguments)


def _fingerprints(people: Sequence[Person]) -> list[str]:
    return [person.fingerprint for person in people]


async def refresh(session: Session, *, keys: int) -> None:
    """Refresh a keyring, a third of which the keyserver does not know."""
    async with session.gpg_home(session.world.keyring(session.dice, keys, UNKNOWN_SHARE)) as home:
        await _gpg(session, home, "--refresh-keys")


async def refresh_old(session: Session, *, keys: int) -> None:
    """Do the same with GnuPG 1.4, which has another HTTP client."""
    async with session.gpg_home(session.world.keyring(session.dice, keys, UNKNOWN_SHARE)) as home:
        gpg = ["gpg1", "--homedir", str(home), "--batch", "--keyserver", session.hkp]
        await session.run(*gpg, "--no-auto-check-trustdb", "--refresh-keys")


async def refresh_one_by_one(session: Session, *, keys: int, pause_s: float) -> None:
    """Refresh from cron, with a gpg for each key and a pause between them."""
    people = session.world.keyring(session.dice, keys, UNKNOWN_SHARE)
    async with session.gpg_home(people) as home:
        for person in people:
            await _gpg(session, home, "--recv-keys", person.fingerprint)
            await session.pause(pause_s)


async def receive(session: Session, *, keys: int, times: int = 1, by_id: bool = False) -> None:
    """Fetch a few certificates, now and then."""
    async with session.gpg_home() as home:
        for _ in range(times):
            wanted = _fingerprints(session.world.keyring(session.dice, keys, 0.15))
            await _gpg(session, home, "--recv-keys", *(each[-16:] if by_id else each for each in wanted))
            await session.pause(15)


async def locate(session: Session, *, mails: int) -> None:
    """Write to people: gpg finds their certificates by itself, or not."""
    async with session.gpg_home() as home:
        for _ in range(mails):
            address = session.world.address(session.dice, 0.4)
            await _gpg(session, home, "--auto-key-locate", "clear,keyserver", "--locate-external-keys", address)
            await session.pause(10)


async def search(session: Session, *, times: int) -> None:
    """Search for somebody by address or name, look at the list, fetch one."""
    async with session.gpg_home() as home:
        for _ in range(times):
            person = session.dice.choice([each for each in session.world.known if each.addresses])
            address = person.addresses[0]
            words = address if session.dice.random() < 0.7 else address.partition("@")[0]
            await _gpg(session, home, "--search-keys", words)
            await session.pause(6)
            if session.dice.random() < 0.8:
                await _gpg(session, home, "--recv-keys", person.fingerprint)
            await session.pause(12)


async def send(session: Session, *, keys: int) -> None:
    """Publish certificates: one's own, or those of which one has just signed."""
    people = session.dice.sample(session.world.unknown, min(keys, len(session.world.unknown)))
    async with session.gpg_home(people) as home:
        await _gpg(session, home, "--send-keys", *_fingerprints(people))
        await session.pause(4)
        await _gpg(session, home, "--recv-keys", people[0].fingerprint)  # is it there?


async def caff(session: Session, *, keys: int) -> None:
    """Come home from a signing party: caff fetches the certificates of all; later they are sent."""
    people = session.dice.sample(session.world.known, min(keys, len(session.world.known)))
    keyrings = [session.folder / ".gnupg", session.folder / ".caff" / "gnupghome"]
    for each in keyrings:
        each.mkdir(parents=True, mode=0o700)
    try:
        await _caff(session, _fingerprints(people))
    finally:
        for each in keyrings:
            await session.run("gpgconf", "--homedir", each, "--kill", "all", seconds=20)
    await session.pause(10)
    async with session.gpg_home(people) as home:
        await _gpg(session, home, "--send-keys", *_fingerprints(people))


async def _caff(session: Session, fingerprints: Sequence[str]) -> None:
    made = await session.run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", "Own <own@example.org>")
    own = re.findall(rb"[0-9A-F]{40}", made.output)[-1].decode()
    (session.folder / ".caffrc").write_text(
        "$CONFIG{'owner'} = 'Own'; $CONFIG{'email'} = 'own@example.org'; $CONFIG{'mail'} = 'no';\n"
        f"$CONFIG{{'keyserver'}} = '{session.hkp}'; $CONFIG{{'keyid'}} = [ qw{{{own[-16:]}}} ]; 1;\n"
    )
    command = f"caff --no-sign --mail no {' '.join(fingerprints)}"
    await session.run("script", "-qefc", command, "/dev/null", stdin=b"y\n" * 200, seconds=240)  # caff wants a terminal


async def parcimonie(session: Session, *, keys: int, pause_s: int) -> None:
    """Refresh a keyring so slowly that nobody can tell whose it is; ends with the recording."""
    people = session.world.keyring(session.dice, keys, UNKNOWN_SHARE)
    async with session.gpg_home(people) as home:
        least = f"{max(1, pause_s // 4)} seconds"
        lapse = ["--minimum_lapse_time", least, "--average_lapse_time", f"{pause_s} seconds"]
        await session.run("parcimonie", "--gnupg_homedir", home, "--gnupg_already_torified", *lapse)


async def build_job(session: Session, *, keys: int, jobs: int, pause_s: float) -> None:
    """Fetch the same few certificates in each job of a build server, with an empty home each time."""
    wanted = _fingerprints(session.dice.sample(session.world.known, keys))
    for _ in range(jobs):
        async with session.gpg_home() as home:
            await _gpg(session, home, "--keyserver", session.hkp, "--recv-keys", *wanted)
        await session.pause(pause_s)


async def archive_keys(session: Session, *, keys: int, machines: int) -> None:
    """Set up machines, each of which wants the keys of some archives, one after the other, as apt-key did."""
    wanted = _fingerprints(session.dice.sample(session.world.known, keys))
    for _ in range(machines):
        async with session.gpg_home() as home:
            for each in wanted:
                await _gpg(session, home, "--keyserver", session.hkp, "--recv-keys", f"0x{each[-16:]}")
        await session.pause(3)


async def sequoia(session: Session, *, certs: int, pause_s: float) -> None:
    """Get certificates with sq, by fingerprint and by address."""
    sq = ["sq", "keyserver", "--policy", "insecure", "--server", session.hkp]
    for person in session.world.keyring(session.dice, certs, 0.2):
        by_address = bool(person.addresses) and session.dice.random() < 0.3
        wanted = person.addresses[0] if by_address else person.fingerprint
        await session.run(*sq, "get", wanted, seconds=60)
        await session.pause(pause_s)


async def sequoia_send(session: Session, *, certs: int) -> None:
    """Publish certificates with sq."""
    for number, person in enumerate(session.dice.sample(session.world.unknown, certs)):
        file = session.folder / f"{number}.pgp"
        await asyncio.to_thread(file.write_bytes, person.certificate)
        await session.run("sq", "keyserver", "--policy", "insecure", "--server", session.hkp, "send", file, seconds=60)
        await session.pause(5)
