"""A model is loaded only with a manifest that is true of it, and whatever is wrong is said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features import BEHAVIOUR, NAMES, VERSION
from models.manifest import MOST_MODEL_BYTES, MOST_WEIGHT, BadModel, Calibration, Manifest, load, read_manifest, text_of
from models.scorer import SHIPPED, Scorer
from proxy.policy import fusion
from tests.models.models_for_tests import model, written

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a good model."""
    return written(model(), tmp_path)


def change(path: Path, **fields: Any) -> None:
    """Write other things into the manifest of a model."""
    manifest = path.with_suffix(".json")
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | fields))


def test_a_good_one(path: Path) -> None:
    """A model and a manifest that fit are loaded, and the text of a manifest is read as what it was."""
    graph, manifest = load(path, NAMES, VERSION)
    assert graph == model().graph
    assert Manifest.model_validate_json(text_of(manifest)) == manifest == read_manifest(path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sha256": "0" * 64}, "SHA-256"),
        ({"sha256": "0"}, "sha256"),
        ({"features_version": VERSION + 1}, "train it anew"),
        ({"features": [*NAMES[1:], NAMES[0]]}, "train it anew"),
        ({"medians": [0.0]}, "medians"),
        ({"medians": [float("nan")] * len(NAMES)}, "finite"),
        ({"name": "another"}, "manifest of 'another'"),
        ({"licence": None}, "licence"),
        ({"more": 1}, "more"),
        ({"accuse": "high"}, "accuse"),
        ({"accuse": [1.0]}, "bounds are not one for each look"),
        ({"weight": -0.1}, "weight: Input should be greater than or equal to 0"),
        ({"weight": 9.1}, "weight: Input should be less than or equal to 9"),
        ({"networks": {"hosting": -0.1}}, "networks.hosting: Input should be greater than or equal to 0"),
        ({"networks": {"moon": 0.5}}, "moon is no feature"),
    ],
)
def test_what_does_not_fit(path: Path, fields: dict[str, Any], said: str) -> None:
    """A manifest of another model, other features or another form refuses the model, and names what is wrong."""
    change(path, **fields)
    with pytest.raises(BadModel, match=said):
        Scorer(path)


def test_weights_are_those_of_evidence() -> None:
    """A model may say of itself that it is worth as much as any evidence, and no more."""
    assert MOST_WEIGHT == fusion.MOST_WEIGHT


def test_of_before_networks(path: Path) -> None:
    """A model for the features of version 1, whose manifest knows no networks, is refused for its version."""
    manifest = path.with_suffix(".json")
    known = json.loads(manifest.read_text())
    del known["networks"]
    known |= {"features_version": 1, "features": NAMES[BEHAVIOUR], "medians": known["medians"][BEHAVIOUR]}
    manifest.write_text(json.dumps(known))
    with pytest.raises(BadModel, match="made for features of version 1, and these are of version 2: train it anew"):
        Scorer(path)


@pytest.mark.parametrize("cut", [0, 1, 1000, -1])
def test_damaged(path: Path, cut: int) -> None:
    """A model that is cut off is refused."""
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(BadModel, match="changed or damaged"):
        Scorer(path)


@settings(max_examples=20, deadline=None)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_one_bit(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    """A model of which one bit is another is refused."""
    path = written(model(), tmp_path_factory.mktemp("model"))
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(BadModel):
        load(path, NAMES, VERSION)


def test_too_large(path: Path) -> None:
    """No more is read than a model may have."""
    with path.open("ab") as file:
        file.truncate(MOST_MODEL_BYTES + 1)
    with pytest.raises(BadModel, match="larger than"):
        Scorer(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"name": 1}', "\x00"])
def test_no_manifest(path: Path, text: str) -> None:
    """What is no manifest is refused, and so is a model without one."""
    path.with_suffix(".json").write_text(text)
    with pytest.raises(BadModel):
        Scorer(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(BadModel, match="No such file"):
        Scorer(path)


def test_no_graph(path: Path) -> None:
    """A file that has the right SHA-256 and is no graph is refused."""
    import hashlib  # noqa: PLC0415

    path.write_bytes(b"no graph")
    change(path, sha256=hashlib.sha256(b"no graph").hexdigest())
    with pytest.raises(BadModel, match=r"abuse-trees\.onnx: \w+: "):
        Scorer(path)


@pytest.mark.parametrize(
    ("raw", "log_odds", "said"),
    [
        ((1.0, 1.0), ((0.0, 1.0),), "knots"),
        ((1.0, 2.0), ((1.0, 0.0),), "fall"),
        ((1.0, 2.0), ((0.0, 1.0, 2.0),), "one row"),
        ((1.0, 2.0), (), "one row"),
    ],
)
def test_calibration(raw: tuple[float, ...], log_odds: tuple[tuple[float, ...], ...], said: str) -> None:
    """Knots ascend, log-odds never fall, and there is one for each."""
    with pytest.raises(ValueError, match=said):
        Calibration(looks=(8,), raw=raw, log_odds=log_odds)


@pytest.mark.parametrize("name", ["abuse-trees", "abuse-forest", "search-text"])
def test_shipped(name: str) -> None:
    """The manifests that are shipped say where the data are from and what may be done with them."""
    manifest = read_manifest(SHIPPED / f"{name}.onnx")
    assert "MIT" in manifest.licence
    assert manifest.training_data
    assert manifest.metrics
    assert (SHIPPED / f"{name}.onnx").stat().st_size <= 200_000
