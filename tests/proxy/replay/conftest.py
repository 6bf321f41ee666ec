"""What the tests of replay share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.models.models_for_tests import model, written

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.fixture(scope="session")
def accusing(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Return settings by which an operator's own model accuses who asks for certificates in their order.

    It is made for tests, so that others that are shipped change nothing here.
    """
    state = tmp_path_factory.mktemp("state")
    (state / "models").mkdir()
    made = model()
    from models.training.fit import Model  # noqa: PLC0415 - the libraries may be missing: then `model` skips

    scale = made.manifest.calibration
    sure = scale.model_copy(
        update={"log_odds": (tuple(9.0 if raw > 0 else -4.0 for raw in scale.raw),) * len(scale.looks)}
    )
    manifest = made.manifest.model_copy(update={"calibration": sure, "accuse": (3.0,) * len(scale.looks)})
    written(Model(made.graph, manifest), state / "models")
    return {"HKPGUARD_STATE_DIR": str(state)}
