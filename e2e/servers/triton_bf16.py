"""A Triton model that returns its BF16 input, which has no NumPy type: handed on as it is."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack("y", r.inputs()[0].to_dlpack())]) for r in requests
        ]
