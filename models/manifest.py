"""What is known of a model: who made it of what, how good it is, and how its raw scores are to be read.

It lies beside the model as JSON. A model without one is a file of unknown origin and is not loaded, nor is one whose
bytes, features or form are others than its manifest says. So neither a damaged file, nor a model for older features,
nor a file that somebody put there can score anybody.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

if TYPE_CHECKING:
    from pathlib import Path

MOST_MODEL_BYTES: Final = 4 << 20
MOST_MANIFEST_BYTES: Final = 256 << 10
MOST_FEATURES: Final = 256
MOST_KNOTS: Final = 64
MOST_WEIGHT: Final = 9.0  # log-odds, as all evidence
MODEL_ENDING, MANIFEST_ENDING = ".onnx", ".json"

Word = Annotated[str, Field(min_length=1, max_length=64)]
Line = Annotated[str, Field(max_length=500)]
Weight = Annotated[FiniteFloat, Field(ge=0, le=MOST_WEIGHT)]
Kind = Literal["trees", "forest", "text"]


class BadModel(Exception):
    """A model is not to be used; the text says which file, and what is wrong with it."""


class Strict(BaseModel):
    """A part of a manifest: what it does not know is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Calibration(Strict):
    """Raw scores to log-odds: straight lines between knots, never falling, level outside.

    Log-odds are the natural logarithm of how much likelier an abuser is to get a raw score than an honest client.

    Attributes:
        looks: Requests from which on each row of log-odds holds, ascending.
        raw: Knots, ascending.
        log_odds: For each look, at each knot.

    """

    looks: Annotated[tuple[int, ...], Field(min_length=1, max_length=MOST_KNOTS)]
    raw: Annotated[tuple[FiniteFloat, ...], Field(min_length=2, max_length=MOST_KNOTS)]
    log_odds: tuple[tuple[FiniteFloat, ...], ...]

    @model_validator(mode="after")
    def _in_order(self) -> Calibration:
        if any(high <= low for low, high in pairwise(self.raw)):
            raise ValueError("knots do not ascend")
        if any(high <= low for low, high in pairwise(self.looks)):
            raise ValueError("looks do not ascend")
        if len(self.log_odds) != len(self.looks) or any(len(row) != len(self.raw) for row in self.log_odds):
            raise ValueError("log-odds are not one row for each look with one value for each knot")
        if any(high < low for row in self.log_odds for low, high in pairwise(row)):
            raise ValueError("log-odds fall")
        return self


class Manifest(Strict):
    """One model.

    Attributes:
        name: Also of its file.
        kind: Of model.
        version: Of this training; in every explanation.
        features_version: `models.features.VERSION` of the features that it was trained on; of texts, of their form.
        features: Their names, in their order.
        medians: Of each in training, each tool counted once; what a value is compared with.
        training_data: Where they come from.
        licence: Of the training data.
        calibration: Of its raw scores.
        accuse: Log-odds from which on a client is called an abuser, one for each of the looks of the calibration.
        weight: Log-odds that this is worth as evidence, at least, 0 to MOST_WEIGHT; 0: it is none.
        networks: What it has learnt of networks: log-odds that one of a kind, which is a feature, adds to behaviour, at
            most, 0 to MOST_WEIGHT. Of kinds that are not named it has learnt nothing; if none is, it does not know what
            a network is.
        metrics: What was measured on tools, or texts, that were not in training.
        made_with: Versions of the libraries that made it.
        sha256: Of the file of the model, in hexadecimal digits.

    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
    kind: Kind
    version: Word
    features_version: int
    features: Annotated[tuple[Word, ...], Field(min_length=1, max_length=MOST_FEATURES)]
    medians: tuple[FiniteFloat, ...]
    training_data: Line
    licence: Line
    calibration: Calibration
    accuse: tuple[FiniteFloat, ...]
    weight: Weight
    networks: dict[Word, Weight] = Field(default_factory=dict)
    metrics: dict[Word, FiniteFloat]
    made_with: dict[Word, Word]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @model_validator(mode="after")
    def _one_of_each(self) -> Manifest:
        if len(self.medians) != len(self.features):
            raise ValueError("medians are not one for each feature")
        if len(self.accuse) != len(self.calibration.looks):
            raise ValueError("bounds are not one for each look")
        if unknown := sorted(self.networks.keys() - set(self.features)):
            raise ValueError(f"networks: {unknown[0]} is no feature")
        return self


def load(path: Path, features: tuple[str, ...], features_version: int) -> tuple[bytes, Manifest]:
    """Return a model's bytes and its manifest, if both are what they should be.

    Args:
        path: Of the model; the manifest is beside it.
        features: The names of the features as this version of hkpguard computes them.
        features_version: Their version.

    Raises:
        BadModel: They are not.

    """
    manifest = read_manifest(path)
    if (manifest.features_version, manifest.features) != (features_version, features):
        raise BadModel(
            f"{path}: made for features of version {manifest.features_version}, and these are of version "
            f"{features_version}: train it anew"
        )
    model = _read(path, MOST_MODEL_BYTES)
    if not hmac.compare_digest(hashlib.sha256(model).hexdigest(), manifest.sha256):
        raise BadModel(f"{path}: its SHA-256 is not the one in its manifest: the file was changed or damaged")
    return model, manifest


def read_manifest(path: Path) -> Manifest:
    """Return the manifest beside a model; BadModel if there is none that can be read."""
    place = path.with_suffix(MANIFEST_ENDING)
    try:
        manifest = Manifest.model_validate_json(_read(place, MOST_MANIFEST_BYTES))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BadModel(f"{place}: {where + ': ' if where else ''}{first['msg']}") from None
    if manifest.name != path.stem:
        raise BadModel(f"{place}: is the manifest of {manifest.name!r}")
    return manifest


def text_of(manifest: Manifest) -> str:
    """Return a manifest as it is written."""
    return json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise BadModel(f"{path}: {error.strerror}") from None
    if len(content) > most:
        raise BadModel(f"{path}: larger than {most} bytes")
    return content
