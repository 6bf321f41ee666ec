"""Graphs of ONNX, made node by node, and how a model is written: the same graph gives the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from onnx import GraphProto, NodeProto, ValueInfoProto

OPSET, ML_OPSET, IR_VERSION = 17, 3, 8  # old ones, which every supported onnxruntime reads
PRODUCER: Final = "hkpguard"


class Graph:
    """A graph that grows. Each node and each constant has a name, by which later nodes take it."""

    def __init__(self, name: str, **constants: NDArray[Any]) -> None:
        """Begin with these constants."""
        self._name = name
        self._constants = constants
        self._nodes: list[NodeProto] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant; return its name."""
        self._constants[name] = value
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:  # noqa: ANN401 - as onnx
        """Add a node, an operator of ONNX; return the name of its output."""
        from onnx import helper  # noqa: PLC0415 - only who trains needs it

        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def written(self, given: ValueInfoProto, found: ValueInfoProto) -> bytes:
        """Return a model with one input and one output."""
        from onnx import helper, numpy_helper  # noqa: PLC0415 - likewise

        arrays = [numpy_helper.from_array(value, name) for name, value in self._constants.items()]
        return written(helper.make_graph(self._nodes, self._name, [given], [found], arrays))


def written(graph: GraphProto) -> bytes:
    """Return a graph as the bytes of a model."""
    from onnx import checker, helper  # noqa: PLC0415 - likewise

    model = helper.make_model(
        graph,
        producer_name=PRODUCER,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
    )
    checker.check_model(model)
    found: bytes = model.SerializeToString(deterministic=True)
    return found
