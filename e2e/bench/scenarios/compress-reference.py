"""Makes one form of a model with onnxruntime.quantization, the reference: FORM MODEL SAMPLES OUT.

SAMPLES is a folder of .npz files, an array for each input with an additional leading axis. Prints one line of JSON:
seconds of the work itself, without the imports, and the peak memory of the process.
"""
import glob
import json
import sys
import time

import onnx
import onnx.reference  # onnxruntime.quantization needs it loaded
import numpy as np
from onnxruntime import quantization as q

form, model, samples, out = sys.argv[1:]


class Reader(q.CalibrationDataReader):
    def __init__(self):
        self.paths = iter(sorted(glob.glob(samples + "/*.npz")))

    def get_next(self):
        path = next(self.paths, None)
        return None if path is None else {name: x[0] for name, x in np.load(path).items()}


started = time.time()
if form == "int4":
    from onnxruntime.quantization.matmul_4bits_quantizer import MatMul4BitsQuantizer

    quantizer = MatMul4BitsQuantizer(onnx.load(model), block_size=32, is_symmetric=False)
    quantizer.process()
    onnx.save(quantizer.model.model, out)
elif form == "f16":
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(model), keep_io_types=True), out)
elif form == "int8-dynamic":
    q.quantize_dynamic(model, out, weight_type=q.QuantType.QInt8, per_channel=False)
elif form == "int8-static":
    q.quantize_static(
        model, out, Reader(), quant_format=q.QuantFormat.QDQ, per_channel=True, weight_type=q.QuantType.QInt8
    )
else:
    raise SystemExit(f"unknown form {form}")
# Not getrusage: its value includes the memory of the parent process before exec.
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"seconds": time.time() - started, "peakBytes": peak * 1024}))
