"""Serves each MODELS/*.onnx with KServe: kserve_server.py MODELS --http_port=PORT --enable_grpc=false"""

import glob
import os
import sys

import kserve.protocol.rest.server as rest
from kserve import InferOutput, InferResponse, Model, ModelServer, model_server
from kserve.errors import InvalidInput
from kserve.utils.utils import generate_uuid
from onnx_session import as_text, open_session, ports


class OnnxModel(Model):
    def __init__(self, path):
        super().__init__(os.path.basename(path)[: -len(".onnx")])
        self.session = open_session(path)
        self.outputs = ports(self.session.get_outputs())
        self.ready = True

    async def get_input_types(self):
        return [{"name": n, "datatype": d, "shape": s} for n, d, s in ports(self.session.get_inputs())]

    async def get_output_types(self):
        return [{"name": n, "datatype": d, "shape": s} for n, d, s in self.outputs]

    async def predict(self, payload, headers=None, response_headers=None):
        wanted = {x.name: x.parameters or {} for x in payload.request_outputs or []}
        try:
            arrays = self.session.run(None, {x.name: as_text(x.as_numpy()) for x in payload.inputs})
        except Exception as error:
            raise InvalidInput(str(error))
        outputs = []
        for (name, datatype, _), array in zip(self.outputs, arrays):
            if wanted and name not in wanted:
                continue
            output = InferOutput(name, list(array.shape), datatype)
            binary = wanted.get(name, {}).get("binary_data", payload.use_binary_outputs)
            output.set_data_from_numpy(array, binary_data=bool(binary))
            outputs.append(output)
        return InferResponse(
            payload.id or generate_uuid(),
            self.name,
            outputs,
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )


class LoopbackConfig(rest.uvicorn.Config):
    """KServe has no option for the address and listens on all."""

    def __init__(self, *args, **options):
        super().__init__(*args, **{**options, "host": "127.0.0.1"})


if __name__ == "__main__":
    folder = sys.argv.pop(1)
    model_server.parser.parse_known_args()
    rest.uvicorn.Config = LoopbackConfig
    ModelServer().start([OnnxModel(path) for path in sorted(glob.glob(f"{folder}/*.onnx"))])
