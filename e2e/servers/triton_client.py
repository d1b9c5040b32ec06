"""Talks to a server with NVIDIA's own client: triton_client.py HOST:PORT; prints what was checked, as JSON."""

import json
import sys

import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

VALUES = {
    "BOOL": np.array([False, True, True]),
    "INT8": np.array([-128, 0, 127], np.int8),
    "INT16": np.array([-32768, 0, 32767], np.int16),
    "INT32": np.array([-(2**31), 0, 2**31 - 1], np.int32),
    "INT64": np.array([-(2**63), 9007199254740993, 2**63 - 1], np.int64),
    "UINT8": np.array([0, 1, 255], np.uint8),
    "UINT16": np.array([0, 1, 65535], np.uint16),
    "UINT32": np.array([0, 1, 2**32 - 1], np.uint32),
    "UINT64": np.array([0, 9007199254740993, 2**64 - 1], np.uint64),
    "FP16": np.array([0.1, -0.0, 65504], np.float16),
    "FP32": np.array([0.1, -0.0, 3.4e38], np.float32),
    "FP64": np.array([0.1, -0.0, 1e300], np.float64),
    "BYTES": np.array(["", "ü✓😀", 'a "quoted"\nline'], object),
}

client = http.InferenceServerClient(sys.argv[1], concurrency=4)
metadata = client.get_server_metadata()
found = {"server": metadata["name"], "live": client.is_server_live(), "ready": client.is_server_ready()}
found["model"] = client.is_model_ready("types") and not client.is_model_ready("none")
ports = client.get_model_metadata("types")["inputs"]
found["inputs"] = {x["name"]: x["datatype"] for x in ports} == {f"in_{x}": x for x in VALUES}


def equal(a, b):
    if b.dtype == object:
        return [x.decode() if isinstance(x, bytes) else x for x in a] == list(b)
    return a.dtype == b.dtype and np.array_equal(a, b)


def infer(binary, **options):
    inputs = []
    for name, value in VALUES.items():
        tensor = http.InferInput(f"in_{name}", value.shape, np_to_triton_dtype(value.dtype))
        # The client refuses FP16 in JSON.
        tensor.set_data_from_numpy(value, binary_data=binary or name == "FP16")
        inputs.append(tensor)
    names = [x for x in VALUES if binary or x != "FP16"]
    outputs = [http.InferRequestedOutput(f"out_{x}", binary_data=binary) for x in names]
    result = client.infer("types", inputs, outputs=outputs, request_id="one", **options)
    wrong = [x for x in names if not equal(result.as_numpy(f"out_{x}"), VALUES[x])]
    return wrong or result.get_response()["id"]


found["binary"] = infer(True)
found["json"] = infer(False)
found["gzip"] = infer(True, request_compression_algorithm="gzip")
pending = []
for i in range(32):
    image = http.InferInput("image", [1, 1, 28, 28], "FP32")
    image.set_data_from_numpy(np.full([1, 1, 28, 28], i / 32, np.float32))
    pending.append(client.async_infer("fashion-mlp", [image]))
found["async"] = len({x.get_result().as_numpy("logits").tobytes() for x in pending})
try:
    client.infer("none", [])
except InferenceServerException as error:
    found["error"] = [error.status(), error.message()]
print(json.dumps(found))
