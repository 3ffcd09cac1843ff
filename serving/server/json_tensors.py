"""Tensors of the REST API as JSON, with exact int64."""

from __future__ import annotations

import base64
import binascii
import json

import numpy as np
import tensorflow as tf

from monolith_tf.serving.server import errors

_BYTES_SUFFIX = "_bytes"


def parse_body(data: bytes) -> dict:
    """Returns the JSON object of a request.

    Raises:
        RequestError: The data is not JSON, or not an object.
    """
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise errors.invalid(f"The request is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise errors.invalid(
            "The request must be a JSON object with `instances` or `inputs`. "
            f"Received: {type(body).__name__}."
        )
    return body


def decode_inputs(body: dict, definition) -> tuple[dict[str, np.ndarray], bool]:
    """Returns the inputs of a signature from a request.

    Args:
        body: Has either `instances` (row format: a list with one element per
            example) or `inputs` (column format: one tensor per input name).
        definition: `SignatureDef` of the signature.

    Returns:
        Arrays by input name, and True for the row format.

    Raises:
        RequestError: INVALID_ARGUMENT, with the received value.
    """
    if ("instances" in body) == ("inputs" in body):
        raise errors.invalid(
            "The request must have either `instances` or `inputs`. Received: "
            f"{sorted(body)}."
        )
    row_format = "instances" in body
    if row_format:
        columns = _columns_of_rows(body["instances"], definition)
    else:
        columns = _columns(body["inputs"], definition)
    return {
        name: _tensor(name, values, definition)
        for name, values in columns.items()
    }, row_format


def encode_outputs(outputs: dict[str, np.ndarray], row_format: bool) -> dict:
    """Returns the answer of a predict request.

    Raises:
        RequestError: The row format was used, but the outputs have no common
            first dimension.
    """
    values = {name: _jsonable(name, v) for name, v in outputs.items()}
    if not row_format:
        if len(values) == 1:
            return {"outputs": next(iter(values.values()))}
        return {"outputs": values}
    lengths = {np.shape(v)[0] if np.ndim(v) else None for v in outputs.values()}
    if len(lengths) != 1 or None in lengths:
        raise errors.invalid(
            "The outputs of this signature have no common first dimension; "
            "use `inputs` instead of `instances`."
        )
    if len(values) == 1:
        return {"predictions": next(iter(values.values()))}
    rows = zip(*values.values(), strict=True)
    return {
        "predictions": [dict(zip(values, row, strict=True)) for row in rows]
    }


def _columns_of_rows(instances, definition) -> dict[str, list]:
    if not isinstance(instances, list) or not instances:
        raise errors.invalid(
            "`instances` must be a list of at least one example. Received: "
            f"{_short(instances)}."
        )
    names = sorted(definition.inputs)
    if not all(_is_named(instance) for instance in instances):
        if len(names) != 1:
            raise errors.invalid(
                f"The signature has the inputs {names}; each of `instances` "
                "must be an object with these names."
            )
        return {names[0]: instances}
    expected = set(names)
    for i, instance in enumerate(instances):
        if instance.keys() != expected:
            raise errors.invalid(
                f"Each of `instances` must have the inputs {names}. Instance "
                f"{i} has: {sorted(instance)}."
            )
    return {name: [row[name] for row in instances] for name in names}


def _columns(inputs, definition) -> dict:
    names = sorted(definition.inputs)
    if not _is_named(inputs):
        if len(names) != 1:
            raise errors.invalid(
                f"The signature has the inputs {names}; `inputs` must be an "
                "object with these names."
            )
        return {names[0]: inputs}
    if sorted(inputs) != names:
        raise errors.invalid(
            f"The signature has the inputs {names}. Received: {sorted(inputs)}."
        )
    return inputs


def _is_named(value) -> bool:
    return isinstance(value, dict) and value.keys() != {"b64"}


def _tensor(name: str, values, definition) -> np.ndarray:
    dtype = tf.as_dtype(definition.inputs[name].dtype)
    leaves, shape = _flatten(name, values)
    convert = _converter(dtype)
    try:
        flat = [convert(leaf) for leaf in leaves]
        return np.array(flat, dtype.as_numpy_dtype).reshape(shape)
    except (TypeError, ValueError, OverflowError, binascii.Error) as error:
        raise errors.invalid(
            f"Input {name!r} must be {dtype.name}. Received: {error}."
        ) from None


def _flatten(name: str, values) -> tuple[list, tuple[int, ...]]:
    """Returns row-major leaves and the shape; rejects ragged lists."""
    level, shape = [values], []
    while level and all(isinstance(value, list) for value in level):
        lengths = {len(value) for value in level}
        if len(lengths) != 1:
            raise errors.invalid(
                f"The lists of input {name!r} have different lengths in "
                f"dimension {len(shape)}: {sorted(lengths)[:10]}. Expected a "
                "rectangular tensor; pad, or use the row-splits inputs."
            )
        shape.append(lengths.pop())
        level = [leaf for value in level for leaf in value]
    if any(isinstance(value, list) for value in level):
        raise errors.invalid(
            f"Input {name!r} mixes lists and values in one dimension."
        )
    return level, tuple(shape)


def _converter(dtype):
    if dtype == tf.string:
        return _string_leaf
    if dtype == tf.bool:
        return _bool_leaf
    if dtype.is_integer:
        return _integer_leaf
    return _float_leaf


def _string_leaf(value) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, dict) and value.keys() == {"b64"}:
        return base64.b64decode(value["b64"], validate=True)
    raise TypeError(_short(value))


def _bool_leaf(value) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError(_short(value))


def _integer_leaf(value) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TypeError(_short(value))


def _float_leaf(value) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise TypeError(_short(value))


def _jsonable(name: str, value: np.ndarray):
    value = np.asarray(value)
    if value.dtype.kind not in "OS":
        if value.dtype.kind not in "biuf":
            value = value.astype(np.float32)  # bfloat16
        return value.tolist()
    as_bytes = name.endswith(_BYTES_SUFFIX)
    return _map_leaves(value.tolist(), lambda v: _string(v, as_bytes))


def _map_leaves(value, function):
    if isinstance(value, list):
        return [_map_leaves(one, function) for one in value]
    return function(value)


def _string(value: bytes, as_bytes: bool):
    if not as_bytes:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(value).decode("ascii")}


def _short(value) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
