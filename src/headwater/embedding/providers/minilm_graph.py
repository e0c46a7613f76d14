"""PURE: all-MiniLM-L6-v2 as an ONNX graph, made from its weights: BERT, mean pooling over the mask, length 1.

Inputs `ids` and `mask`, int64 of shape (texts, tokens); output `vectors`, float32 of shape (texts, 384). Padding is 0
in both inputs, and stands after the text. The token types are all 0, as for single texts. Whoever changes the vectors
raises the revision in `onnx.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

LAYERS, HEADS, WIDTH = 6, 12, 384
_HEAD_WIDTH = WIDTH // HEADS
_EPSILON = 1e-12
# What the runtime must know at least. The newest that `onnx` knows may be newer than the runtime.
_OPSET, _IR = 17, 8

Weights = Mapping[str, npt.NDArray[np.float32]]


def graph(weights: Weights) -> ModelProto:
    """Return the whole model. Raise KeyError where a tensor is missing."""
    parts = _Parts(weights)
    bias = _attention_bias(parts)
    hidden = _embedded(parts)
    for layer in range(LAYERS):
        hidden = _layer(parts, f"encoder.layer.{layer}", hidden, bias)
    _pooled(parts, hidden)
    return parts.model()


class _Parts:
    """Nodes and constants as they are added. A node's only output has its name."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    def node(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = name or f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value, dtype=dtype), name)
        return name

    def whole(self, *values: int) -> str:
        return self.constant(f"whole_{'_'.join(map(str, values))}", values, np.int64)

    def weight(self, name: str) -> str:
        return self.constant(name, self._weights[name])

    def dense(self, name: str, hidden: str) -> str:
        turned = self.constant(f"{name}.turned", self._weights[f"{name}.weight"].T)
        return self.node("Add", self.node("MatMul", hidden, turned), self.weight(f"{name}.bias"))

    def norm(self, name: str, hidden: str) -> str:
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.node("LayerNormalization", hidden, scale, bias, axis=-1, epsilon=_EPSILON)

    def model(self) -> ModelProto:
        inputs = [helper.make_tensor_value_info(it, TensorProto.INT64, ["texts", "tokens"]) for it in ("ids", "mask")]
        outputs = [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["texts", WIDTH])]
        whole = helper.make_graph(self._nodes, "all-MiniLM-L6-v2", inputs, outputs, list(self._constants.values()))
        return helper.make_model(whole, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)


def _attention_bias(parts: _Parts) -> str:
    """0 where there is text, far below every score where there is padding: (texts, 1, 1, tokens)."""
    mask = parts.node("Cast", "mask", to=TensorProto.FLOAT, name="mask_as_float")
    padding = parts.node("Sub", parts.constant("one", 1.0), mask)
    far = parts.node("Mul", padding, parts.constant("far_below", -1e4))
    return parts.node("Unsqueeze", far, parts.whole(1, 2))


def _embedded(parts: _Parts) -> str:
    words = parts.node("Gather", parts.weight("embeddings.word_embeddings.weight"), "ids")
    length = parts.node("Shape", "ids", start=1, end=2)
    table = parts.weight("embeddings.position_embeddings.weight")
    places = parts.node("Slice", table, parts.whole(0), length, parts.whole(0))
    types = parts.weight("embeddings.token_type_embeddings.weight")
    first_type = parts.node("Gather", types, parts.constant("type", 0, np.int64))
    added = parts.node("Add", parts.node("Add", words, places), first_type)
    return parts.norm("embeddings.LayerNorm", added)


def _layer(parts: _Parts, name: str, hidden: str, bias: str) -> str:
    attended = parts.dense(f"{name}.attention.output.dense", _attention(parts, f"{name}.attention.self", hidden, bias))
    hidden = parts.norm(f"{name}.attention.output.LayerNorm", parts.node("Add", attended, hidden))
    inner = _gelu(parts, parts.dense(f"{name}.intermediate.dense", hidden))
    outer = parts.dense(f"{name}.output.dense", inner)
    return parts.norm(f"{name}.output.LayerNorm", parts.node("Add", outer, hidden))


def _attention(parts: _Parts, name: str, hidden: str, bias: str) -> str:
    split = parts.whole(0, 0, HEADS, _HEAD_WIDTH)  # a 0 keeps what is there

    def heads(part: str, *order: int) -> str:
        cut = parts.node("Reshape", parts.dense(f"{name}.{part}", hidden), split)
        return parts.node("Transpose", cut, perm=order)

    query, key, value = heads("query", 0, 2, 1, 3), heads("key", 0, 2, 3, 1), heads("value", 0, 2, 1, 3)
    root = parts.constant("root_of_the_head_width", np.sqrt(np.float32(_HEAD_WIDTH)))
    scores = parts.node("Div", parts.node("MatMul", query, key), root)
    shares = parts.node("Softmax", parts.node("Add", scores, bias), axis=-1)
    seen = parts.node("Transpose", parts.node("MatMul", shares, value), perm=(0, 2, 1, 3))
    return parts.node("Reshape", seen, parts.whole(0, 0, WIDTH))


def _gelu(parts: _Parts, hidden: str) -> str:
    """The exact one, by the error function."""
    scaled = parts.node("Div", hidden, parts.constant("root_of_2", np.sqrt(np.float32(2))))
    risen = parts.node("Add", parts.node("Erf", scaled), parts.constant("one", 1.0))
    return parts.node("Mul", parts.node("Mul", hidden, risen), parts.constant("half", 0.5))


def _pooled(parts: _Parts, hidden: str) -> None:
    """The sum over the text's tokens at length 1, which dividing by their number first would not change."""
    mask = parts.node("Unsqueeze", "mask_as_float", parts.whole(2))
    total = parts.node("ReduceSum", parts.node("Mul", hidden, mask), parts.whole(1), keepdims=0)
    parts.node("LpNormalization", total, axis=-1, p=2, name="vectors")
