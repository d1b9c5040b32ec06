"""Shared by the servers: an ONNX Runtime session, on one thread unless ONNX_THREADS says otherwise, and its types by their names in the protocol."""

import os

import numpy as np
import onnxruntime

DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


def open_session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("ONNX_THREADS", "1"))
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def ports(values):
    """Name, datatype and shape of each input or output; -1 where any size is accepted."""
    return [
        (value.name, DATATYPES[value.type], [dim if isinstance(dim, int) else -1 for dim in value.shape])
        for value in values
    ]


def as_text(array):
    """Strings of an array that holds bytes, which ONNX Runtime does not take."""
    if array.dtype.kind not in "OS":
        return array
    texts = [x.decode() if isinstance(x, bytes) else x for x in array.reshape(-1)]
    return np.array(texts, dtype=object).reshape(array.shape)
