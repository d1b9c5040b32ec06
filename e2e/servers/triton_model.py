"""A Triton model of the python backend that runs the model.onnx beside it; its ports are read from there."""

import os
import sys

import triton_python_backend_utils as pb_utils

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(HERE)
from onnx_session import as_text, open_session, ports  # noqa: E402


def _session():
    return open_session(os.path.join(HERE, "model.onnx"))


def _port(name, datatype, shape):
    kind = "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
    return {"name": name, "data_type": kind, "dims": shape}


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        session = _session()
        config.set_max_batch_size(0)
        for port in ports(session.get_inputs()):
            config.add_input(_port(*port))
        for port in ports(session.get_outputs()):
            config.add_output(_port(*port))
        return config

    def initialize(self, args):
        self.session = _session()

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        try:
            names = list(request.requested_output_names())
            feeds = {x.name(): as_text(x.as_numpy()) for x in request.inputs()}
            arrays = self.session.run(names, feeds)
            return pb_utils.InferenceResponse([pb_utils.Tensor(n, a) for n, a in zip(names, arrays)])
        except Exception as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
