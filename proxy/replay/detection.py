"""The detector of a run: `ml-abuse-detector` as the configuration says, or why there is none.

Where the configuration says nothing it looks in shadow mode: what keeps it off in a guard, that requests wait for it,
is no matter here. A replay does without it if it is set to off, or if a library or a model is missing. That is told in
the report.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from models.coldness import Coldness
from models.watch import Watch
from proxy.intel.composer import origins_of
from proxy.plugins.built_in import mode_of
from proxy.plugins.contract import Common, Host
from proxy.plugins.runner import Notebook, reason_of
from proxy.replay.node import SECRET
from proxy.settings.plugins import PluginConfig

if TYPE_CHECKING:
    from proxy.config import Config, ModeWord
    from proxy.plugins.ml_abuse import MlAbuseDetector

NAME: Final = "ml-abuse-detector"
FOLDER: Final = "plugins"  # in HKPGUARD_STATE_DIR, as proxy.plugins.manager has it; nothing is written there
_MODES: Final = {
    "shadow": "in shadow mode: this is what would have followed, and nobody was moved",
    "enforce": "in enforce mode: its verdicts were obeyed",
}


class Detection(NamedTuple):
    """What looks at the requests of a run.

    Attributes:
        told: For the operator, one sentence.
        detector: None: nobody looks.
        common: What it looks at, to be fed.
        mode: What becomes of its findings.
        settings: Of the plugin.

    """

    told: str
    detector: MlAbuseDetector | None = None
    common: Common | None = None
    mode: ModeWord = "off"
    settings: PluginConfig = PluginConfig()


UNASKED: Final = Detection(f"{NAME} was not asked")


def detection(config: Config) -> Detection:
    """Return what looks at requests by this configuration; whatever is wrong with it, the replay goes on."""
    settings = config.plugins.get(NAME, PluginConfig())
    mode = "shadow" if settings.mode is None else mode_of(config, NAME, settings)
    if mode == "off":
        return Detection(f"{NAME} is off")
    try:
        detector, common, missing = _loaded(config, settings)
    except Exception as error:  # noqa: BLE001 - a library is missing, no model is good, a setting is wrong
        return Detection(f"{NAME} cannot be used: {reason_of(error)}")
    problems = "; ".join(filter(None, (detector.health(), missing)))
    problem = f" ({problems})" if problems else ""
    bound = (
        "" if mode == "shadow" or config.verdicts.mode == "enforce" else "; HKPGUARD_VERDICTS__MODE lets nobody obey"
    )
    return Detection(f"{NAME} is {_MODES[mode]}{bound}{problem}", detector, common, mode, settings)


def _loaded(config: Config, settings: PluginConfig) -> tuple[MlAbuseDetector, Common, str]:
    """Return the plugin, set up with the operator's own models or the shipped ones, and what it looks at.

    And what could not be read of databases of networks.
    """
    from proxy.plugins.ml_abuse import MlAbuseDetector, Settings  # noqa: PLC0415 - onnxruntime may be missing

    detector, notebook = MlAbuseDetector(brief=True), Notebook()
    own = Settings.model_validate_strings(dict(settings.own), extra="forbid")
    origins, missing = origins_of(config) if own.network else (None, "")
    common = Common(Coldness(SECRET), Watch(), origins=origins)
    folder = Path(config.state_dir) / FOLDER / NAME
    detector.set_up(Host(config=own, log=notebook, bus=notebook, state_dir=folder, common=common))
    return detector, common, missing
