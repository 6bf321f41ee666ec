"""Tests that docs/configuration.md is whole and true."""

import re
import tomllib
from pathlib import Path

from proxy.config import KEYS, Config
from proxy.settings.intel import FEED_KEYS, FeedConfig
from proxy.settings.limits import BUDGET_KEYS, LIMIT_KEYS
from proxy.settings.plugins import COMMON, PluginConfig

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "configuration.md"
PREFIX = "HKPGUARD_"


def test_documentation_lists_every_setting() -> None:
    """docs/configuration.md has each setting with its default and what is allowed, and no other setting."""
    default = Config.model_validate({})
    expected = {
        key.variable: (key.text(default) or "empty", key.kind.allowed)
        for key in KEYS.values()
        if key.path[0] not in {"limits", "budgets"}
    }
    expected["HKPGUARD_WORKERS"] = ("number of cores", expected["HKPGUARD_WORKERS"][1])
    expected["HKPGUARD_CONFIG"] = ("empty", "the path of a TOML file")
    rows = {row[0]: (row[1], row[2]) for row in table_rows() if row[0].startswith(PREFIX)}
    assert rows == expected


def test_documentation_lists_every_limit() -> None:
    """docs/configuration.md has the default of each field of each limit, and what is allowed in it."""
    fields = {key.variable.removeprefix(PREFIX): key for key in LIMIT_KEYS}
    rows = {row[0]: row[1:] for row in table_rows()}
    assert rows["class"][:-1] == list(fields)
    assert {field: rows[field][0] for field in fields} == {field: key.kind.allowed for field, key in fields.items()}
    for name, limit in Config.model_validate({}).limits_for().items():
        assert rows[name][:-1] == [key.text(limit) for key in LIMIT_KEYS]


def test_documentation_lists_every_budget() -> None:
    """The same for budgets, whose fields are fields of limits."""
    rows = {row[0]: row[1:] for row in table_rows()}
    assert rows["budget"][:-1] == [key.variable.removeprefix(PREFIX) for key in BUDGET_KEYS]
    for name, budget in Config.model_validate({}).budgets_for().items():
        assert rows[name][:-1] == [key.text(budget) for key in BUDGET_KEYS]


def test_documentation_lists_every_setting_of_plugins() -> None:
    """docs/configuration.md has what all plugins have, with defaults and what is allowed."""
    prefix, usual = "PLUGINS__<NAME>__", PluginConfig()
    expected = {word.upper(): (key.text(usual) or "empty", key.kind.allowed) for word, key in COMMON.items()}
    rows = {row[0].removeprefix(prefix): (row[1], row[2]) for row in table_rows() if row[0].startswith(prefix)}
    assert rows == expected


def test_documentation_lists_every_setting_of_feeds() -> None:
    """The same for what all feeds have."""
    prefix, usual = "INTEL__FEEDS__<NAME>__", FeedConfig()
    expected = {word.upper(): (key.text(usual) or "empty", key.kind.allowed) for word, key in FEED_KEYS.items()}
    rows = {row[0].removeprefix(prefix): (row[1], row[2]) for row in table_rows() if row[0].startswith(prefix)}
    assert rows == expected


def test_examples_of_the_documentation_are_valid(tmp_path: Path) -> None:
    """Each TOML example in docs/configuration.md can be used as it stands."""
    examples = re.findall(r"```toml\n(.*?)```", DOCUMENTATION.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        assert tomllib.loads(example)
        path = tmp_path / "hkpguard.toml"
        path.write_text(example, encoding="utf-8")
        Config.from_env({"HKPGUARD_CONFIG": str(path)})


def table_rows() -> list[list[str]]:
    """Return the cells of all table rows in the documentation, without the marks of code."""
    lines = DOCUMENTATION.read_text(encoding="utf-8").splitlines()
    rows = [line.strip("|").split(" | ") for line in lines if line.startswith("|")]
    return [[cell.strip().removeprefix("`").removesuffix("`") for cell in row] for row in rows]
