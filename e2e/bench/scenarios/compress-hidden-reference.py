"""Makes a text encoder's forms with all modes of onnxruntime's quantizer: MODEL SAMPLES OUT.

SAMPLES has a line of JSON for each text: lists of int64 by input. Prints a line of JSON: the file of each form by its
name, or the reason why there is none.
"""
import json
import os
import sys

import numpy as np
import onnx
from onnxruntime import quantization as q
from onnxruntime.quantization import matmul_nbits_quantizer as nbits
from onnxruntime.transformers.float16 import convert_float_to_float16

model, samples, out = sys.argv[1:]
feeds = [{k: np.array([v], np.int64) for k, v in json.loads(line).items()} for line in open(samples)]


class Reader(q.CalibrationDataReader):
    def __init__(self):
        self.left = iter(feeds)

    def get_next(self):
        return next(self.left, None)


def prepared():
    path = os.path.join(out, "prepared.onnx")
    if not os.path.exists(path):
        q.quant_pre_process(model, path, skip_symbolic_shape=True)
    return path


def dynamic(path, **options):
    q.quantize_dynamic(prepared(), path, **options)


def static(path, method):
    options = {"quant_format": q.QuantFormat.QDQ, "per_channel": True, "weight_type": q.QuantType.QInt8}
    q.quantize_static(prepared(), path, Reader(), calibrate_method=method, **options)


def blocks(path, bits, **options):
    made = nbits.MatMulNBitsQuantizer(onnx.load(model), bits=bits, block_size=32, is_symmetric=False, **options)
    made.process()
    made.model.save_model_to_file(path, False)


def half(path):
    onnx.save(convert_float_to_float16(onnx.load(model), keep_io_types=True), path)


TABLES = {"op_types_to_quantize": ("MatMul", "Gather"), "quant_axes": (("MatMul", 0), ("Gather", 1))}
FORMS = {
    "dynamic": lambda path: dynamic(path, weight_type=q.QuantType.QInt8),
    "dynamic, per channel": lambda path: dynamic(path, weight_type=q.QuantType.QInt8, per_channel=True),
    "dynamic, unsigned, per channel": lambda path: dynamic(path, weight_type=q.QuantType.QUInt8, per_channel=True),
    "static": lambda path: static(path, q.CalibrationMethod.MinMax),
    "static, entropy": lambda path: static(path, q.CalibrationMethod.Entropy),
    "8 bits in blocks": lambda path: blocks(path, 8),
    "4 bits in blocks": lambda path: blocks(path, 4),
    "4 bits in blocks, tables too": lambda path: blocks(path, 4, **TABLES),
    "4 bits in blocks, GPTQ": lambda path: blocks(
        path, 4, algo_config=nbits.GPTQWeightOnlyQuantConfig(calibration_data_reader=Reader(), block_size=32)
    ),
    "float16": half,
}
made = {}
for i, (name, make) in enumerate(FORMS.items()):
    path = os.path.join(out, f"reference-{i}.onnx")
    try:
        make(path)
        made[name] = {"path": path}
    except Exception as error:
        # GPTQ needs PyTorch; entropy fails for texts of unlike lengths.
        made[name] = {"why": f"{type(error).__name__}: {error}"[:300]}
print(json.dumps(made))
