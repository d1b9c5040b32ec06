"""Packs the graphs of exported models without their weights: python pack-graphs.py OUT MODEL.onnx… (needs onnx and brotli).
Large tensors become external data, all of them the beginning of one file, weights.bin. OUT is a brotli stream of, for each
model, the length of its name and the name, then the length of its graph and the graph (exported-graphs.ts)."""
import struct, sys
from pathlib import Path
import brotli, onnx

BYTES = {onnx.TensorProto.FLOAT: 4, onnx.TensorProto.FLOAT16: 2}


def drop(tensor):
    count = 1
    for dim in tensor.dims: count *= dim
    if tensor.data_type not in BYTES or count <= 64: return
    for field in ("raw_data", "float_data", "external_data"): tensor.ClearField(field)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in dict(location="weights.bin", offset=0, length=count * BYTES[tensor.data_type]).items():
        tensor.external_data.add(key=key, value=str(value))


def strip(graph):
    for tensor in graph.initializer: drop(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR: drop(attribute.t)
            if attribute.type == onnx.AttributeProto.GRAPH: strip(attribute.g)


packed = b""
for path in sys.argv[2:]:
    model = onnx.load(path)
    strip(model.graph)
    for part in (Path(path).parts[-3].encode(), model.SerializeToString()): packed += struct.pack("<I", len(part)) + part
Path(sys.argv[1]).write_bytes(brotli.compress(packed, quality=11, lgwin=24))
