"""Stands in for Triton's onnxruntime backend, which its wheel lacks: a Python backend for unchanged ONNX repositories.

As that one, it refuses a configuration whose tensors are not those of the model, and runs requests that Triton batched
together.
"""

import json
import os
import sys

import numpy as np
import triton_python_backend_utils as pb_utils

sys.path.append(os.path.dirname(os.path.abspath(__file__)))
from onnx_session import as_text, open_session, ports  # noqa: E402


def _check(kind, declared, real, batched):
    found = {x["name"]: (x["data_type"], [int(d) for d in x["dims"]]) for x in declared}
    wanted = {}
    for name, datatype, dims in ports(real):
        if batched and dims[0] != -1:
            raise ValueError(f"{kind} {name} has a fixed first axis, but max_batch_size is above 0")
        type_name = "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
        wanted[name] = (type_name, dims[1:] if batched else dims or [1])
    if found != wanted:
        raise ValueError(f"{kind}: config.pbtxt has {found}, the model {wanted}")


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.session = open_session(os.path.join(args["model_repository"], args["model_version"], "model.onnx"))
        self.batched = batched = config["max_batch_size"] > 0
        _check("input", config["input"], self.session.get_inputs(), batched)
        _check("output", config["output"], self.session.get_outputs(), batched)
        self.inputs = {x.name: x.shape for x in self.session.get_inputs()}
        self.scalars = {x.name for x in self.session.get_outputs() if x.shape == []}

    def execute(self, requests):
        if self.batched and len(requests) > 1:
            try:
                return self._answer_together(requests)
            except Exception:
                pass  # Of different sizes, or one of them is wrong: each has its own answer then.
        return [self._answer(request) for request in requests]

    def _answer_together(self, requests):
        feeds = [{x.name(): as_text(x.as_numpy()) for x in request.inputs()} for request in requests]
        joined = {name: np.concatenate([x[name] for x in feeds]) for name in feeds[0]}
        outputs = [x.name for x in self.session.get_outputs()]
        arrays = dict(zip(outputs, self.session.run(outputs, joined)))
        answers, row = [], 0
        for request, own in zip(requests, feeds):
            end = row + len(next(iter(own.values())))
            tensors = [pb_utils.Tensor(n, arrays[n][row:end]) for n in request.requested_output_names()]
            answers.append(pb_utils.InferenceResponse(tensors))
            row = end
        return answers

    def _answer(self, request):
        try:
            names = list(request.requested_output_names())
            feeds = {x.name(): as_text(x.as_numpy()) for x in request.inputs()}
            feeds = {n: x.reshape([]) if self.inputs[n] == [] else x for n, x in feeds.items()}
            arrays = [np.asarray(x) for x in self.session.run(names, feeds)]
            outputs = [pb_utils.Tensor(n, a.reshape([1]) if n in self.scalars else a) for n, a in zip(names, arrays)]
            return pb_utils.InferenceResponse(outputs)
        except Exception as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
