"""Makes the table of texts that the model of texts is trained on: `python -m bench.texts DATA [OUT]`.

DATA is the folder of public sets; of it only `payload/httpparams` (MIT) gets into the table. Names and addresses are
put together by chance from lists, so no real person is in it. The seed is fixed.
"""

import csv
import random
import re
import string
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.peers import ROOT
from models.training.letters import write
from models.training.table import TEST, TRAIN

SHIPPED = ROOT / "models" / "data" / "texts.csv.gz"
LONGEST = 64  # bytes, as records have it
INJECTIONS, NAMES_, DRAWN = 2600, 1400, 900
TEST_SHARE = 0.3
_FIRST = """
anna bruno carla david elena felix greta henri ida jonas karin lukas maria nils olga paul rosa simon tina viktor
yusuf aisha mehmet zeynep siobhan niamh eoin bjorn åsa øyvind łukasz małgorzata zbigniew křištof růžena ferenc
zsófia ágnes nguyễn thị hương minh quang wei xiaoming lihua jun hiroshi yuki takeshi keiko ji-woo seo-yeon priya
rahul sanjay lakshmi olumide chukwuemeka ngozi thandiwe sipho mohammed fatima khalid leila giuseppe chiara josé
maría joão inês françois élodie anaïs jürgen jörg dmitri ekaterina вадим наталья oleksandr ярослав γιώργος ελένη
avraham noam דוד 王伟 佐藤 김민준
"""
_LAST = """
abel berger costa duarte eriksen fischer garcia hansen ivanov jansen keller lopez moreau novak olsen petit rossi
silva torres weber o'brien o'connor d'angelo l'hôpital mcgregor van-der-berg de-la-cruz al-khatib ben-david
szczepański wiśniewski brzęczyszczykiewicz dvořáková nagy kovács þórsson åkerström müller-lüdenscheidt schwarzkopf
vuković krstić papadopoulos oyelaran mbeki tanaka watanabe yamamoto zhang huang nguyen tran pham kim choi singh
patel krishnamurthy gómez-peña ribeiro özdemir yilmaz кузнецов шевченко παπαδάκης כהן 李 高橋 박
"""
_DOMAINS = """
example.org example.net example.com mail.example.com cs.example.edu lists.example.org corp.example.com
select.example union-bank.example drop.example insert-coin.example script.example ubuntu.example.org
users.noreply.example.com
"""
FIRST, LAST, DOMAINS = _FIRST.split(), _LAST.split(), _DOMAINS.split()
COMMENTS = (
    "work", "private", "new key", "old key, do not use", "signing key 2024-2026", "code signing", "backup; see website",
    "http://example.org/~me/pgp.html", "https://example.org/keys?id=12", "key for <git>", 'a.k.a. "Bob"', "PhD",
    "this key replaces 0x1A2B3C4D", "personal & work", "100% offline", "root", "admin", "<3", "automatic", "C++ team",
    "revoked - use my other key", "test key", "1=1 fan", "union rep.", "select group", "don't encrypt to this key",
)  # fmt: skip
ORDINARY = (
    "union of concerned scientists", "select committee", "drop box", "drop table tennis club", "insert coin", "or else",
    "update manager", "delete key", "script archive", "alert team", "sleep research lab", "benchmark team", "etc",
    "passwd maintainers", "root ca 2025", "exec board", "cast & crew", "order by phone", "where the wild things are",
    "having fun", "like minded people", "from here to eternity", "group by design", "null pointer society", "/dev/null",
    "c:\\windows fan club", "../here", "ping the admin", "javascript developers", "sql user group", "xss research list",
    "debian release team", "linux kernel security", "0xdeadbeef", "0x1A2B3C4D5E6F7081", "archive automatic signing key",
    "security@", "@example.org", "example.org", "git", "gnupg", "tor browser developers", "select * from keys",
)  # fmt: skip


def names(dice: random.Random) -> str:
    """Draw what people search for, and what user IDs are."""
    first, last, domain = dice.choice(FIRST), dice.choice(LAST), dice.choice(DOMAINS)
    full = f"{first.title()} {last.title()}"
    mail = f"{first}{dice.choice(['.', '-', '_', ''])}{last}@{domain}".replace("'", "")
    shapes: list[Callable[[], str]] = [
        lambda: full,
        lambda: last,
        lambda: f"{first} {last}",
        lambda: mail,
        lambda: f"{first[0]}{last}{dice.randrange(100)}@{domain}",
        lambda: f"{first}+{dice.choice(['pgp', 'list', 'keys2026'])}@{domain}",
        lambda: f"{full} <{mail}>",
        lambda: f"{full} ({dice.choice(COMMENTS)}) <{mail}>",
        lambda: f"{full} ({dice.choice(COMMENTS)})",
        lambda: f'"{last.title()}, {first.title()}" <{mail}>',
        lambda: f"{first.title()} {dice.choice(string.ascii_uppercase)}. {last.title()}",
        lambda: dice.choice(ORDINARY),
        lambda: f"{first}{1950 + dice.randrange(70)}@{domain}",
        lambda: f"{dice.choice(ORDINARY)} <{mail}>",
        lambda: "0x" + "".join(dice.choices("0123456789ABCDEF", k=dice.choice([8, 16, 40]))),
    ]
    return dice.choice(shapes)()


def drawn(dice: random.Random) -> str:
    """Draw what a machine draws: nothing that could be said."""
    letters, mixed = string.ascii_lowercase, string.ascii_letters + string.digits

    def some(alphabet: str, low: int, high: int) -> str:
        return "".join(dice.choices(alphabet, k=dice.randint(low, high)))

    shapes: list[Callable[[], str]] = [
        lambda: some(letters, 8, 24),
        lambda: some(mixed, 10, 40),
        lambda: some("bcdfghjklmnpqrstvwxz", 6, 16),
        lambda: f"{some(mixed, 8, 16)}@{some(letters, 6, 12)}.{dice.choice(['com', 'org', 'net', 'xyz'])}",
        lambda: f"{some(letters, 6, 12)} {some(letters, 6, 12)} <{some(mixed, 8, 12)}@{dice.choice(DOMAINS)}>",
        lambda: some(mixed + "+/", 20, 60) + dice.choice(["", "=", "=="]),
        lambda: some(string.printable[:94], 12, 60),
        lambda: f"{some(letters, 6, 10).title()} {some(letters, 6, 10).title()}",
        lambda: f"{some(string.digits, 12, 30)}",
    ]
    return dice.choice(shapes)()


def sentences() -> Iterator[str]:
    """Yield pieces of this repository's documentation: prose, and words of the trade."""
    for path in sorted((ROOT / "docs").glob("*.md")):
        words = re.sub(r"[|#*\[\]()]+", " ", path.read_text(encoding="utf-8")).split()
        for start in range(0, len(words) - 9, 40):
            yield " ".join(words[start : start + 9])[:LONGEST]


def injections(data: Path, dice: random.Random) -> list[str]:
    """Return injections: a part of each sort, none twice."""
    with (data / "payload/httpparams/payload_train.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["attack_type"], row["payload"]) for row in csv.DictReader(file) if row["attack_type"] != "norm"]
    unique = sorted({(sort, text.encode()[:LONGEST].decode("utf-8", "ignore")) for sort, text in rows if text.strip()})
    sorts = sorted({sort for sort, _ in unique})
    found: list[str] = []
    for sort in sorts:
        own = [text for each, text in unique if each == sort]
        found += dice.sample(own, min(len(own), INJECTIONS // len(sorts)))
    return found


def table(data: Path) -> list[tuple[str, ...]]:
    """Return the rows of the table, as `letters.FIELDS` has them."""
    dice = random.Random(1)  # noqa: S311 - the same table each time
    groups = {
        ("names", "0", "0"): [*ORDINARY, *(names(dice) for _ in range(NAMES_))],
        ("documentation", "0", "0"): [*sentences()],
        ("drawn", "0", "1"): [drawn(dice) for _ in range(DRAWN)],
        ("httpparams", "1", "0"): injections(data, dice),
    }
    return [
        (text, TEST if dice.random() < TEST_SHARE else TRAIN, *labels)
        for labels, texts in groups.items()
        for text in dict.fromkeys(texts)
    ]


if __name__ == "__main__":
    rows = table(Path(sys.argv[1]))
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else SHIPPED
    write(rows, out)
    print(f"{out}: {len(rows)} texts, {out.stat().st_size} bytes")
