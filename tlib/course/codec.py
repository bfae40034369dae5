"""Plain values as bytes and back, between the grader and the sandbox: nothing is pickled, nothing is unpacked unseen.

A frame is the length of a JSON tree (8 bytes, big-endian), the tree, and the tensors as safetensors, to which the tree
points. The sandboxed worker has this file too, so it imports nothing of the project.
"""

import json
from typing import Any

PLAIN = (bool, int, float, str, type(None))


class CodecError(ValueError):
    """A value that is not plain data, or bytes that are not a frame."""


def pack(value: Any) -> bytes:
    """Numbers, strings, None, tensors, arrays, and lists, tuples and string-keyed dicts of them, as one frame."""
    from safetensors.torch import save

    tensors: dict[str, Any] = {}
    tree = json.dumps(_tree(value, tensors)).encode()
    return len(tree).to_bytes(8, "big") + tree + save(tensors)


def unpack(frame: bytes) -> Any:
    """What `pack` packed. Raises CodecError on anything else, whoever made it."""
    from safetensors.torch import load

    length = int.from_bytes(frame[:8], "big")
    try:
        return _value(json.loads(frame[8 : 8 + length]), load(frame[8 + length :]))
    except CodecError:
        raise
    except Exception as error:  # the bytes come from student code: any failure means the same
        raise CodecError(f"not a frame of plain values ({type(error).__name__})") from None


def _tree(value: Any, tensors: dict[str, Any]) -> Any:
    """The JSON tree of a value; only exact types are taken, since a subclass may lie about what it holds."""
    import numpy as np
    import torch

    kind = type(value)
    if kind in PLAIN:
        return {"plain": value}
    if kind in (list, tuple):
        return {kind.__name__: [_tree(item, tensors) for item in value]}
    if kind is dict and all(type(key) is str for key in value):
        return {"dict": {key: _tree(item, tensors) for key, item in value.items()}}
    if kind in (torch.Tensor, torch.nn.Parameter):
        key = str(len(tensors))
        tensors[key] = value.detach().to("cpu").clone().contiguous()
        return {"tensor": key}
    if kind is np.ndarray and value.dtype.kind in "biuf":
        key = str(len(tensors))
        tensors[key] = torch.from_numpy(np.array(value, order="C"))
        return {"array": key}
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return {"plain": value.item()}
    raise CodecError(f"a {kind.__name__} is not plain data")


def _value(tree: Any, tensors: dict[str, Any]) -> Any:
    ((kind, content),) = tree.items()
    if kind == "plain" and type(content) in PLAIN:
        return content
    if kind in ("list", "tuple"):
        items = [_value(item, tensors) for item in content]
        return items if kind == "list" else tuple(items)
    if kind == "dict":
        return {key: _value(item, tensors) for key, item in content.items()}
    if kind in ("tensor", "array"):
        return tensors[content] if kind == "tensor" else tensors[content].numpy()
    raise CodecError(f"unknown kind {kind!r}")
