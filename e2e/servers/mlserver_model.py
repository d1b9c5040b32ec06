"""An MLServer runtime that runs the ONNX file of its settings' uri."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceResponse, MetadataTensor
from mlserver.utils import get_model_uri
from onnx_session import open_session, ports


class OnnxModel(MLModel):
    async def load(self):
        self._session = open_session(await get_model_uri(self._settings))
        self.inputs = [MetadataTensor(name=n, datatype=d, shape=s) for n, d, s in ports(self._session.get_inputs())]
        self.outputs = [MetadataTensor(name=n, datatype=d, shape=s) for n, d, s in ports(self._session.get_outputs())]
        return True

    async def predict(self, payload):
        feeds = {}
        for x in payload.inputs:
            if x.datatype == "BYTES":
                feeds[x.name] = np.array(StringCodec.decode_input(x), dtype=object).reshape(x.shape)
            else:
                feeds[x.name] = NumpyCodec.decode_input(x)
        try:
            arrays = self._session.run(None, feeds)
        except Exception as error:
            raise InferenceError(str(error))
        wanted = {x.name for x in payload.outputs or []}
        outputs = []
        for port, array in zip(self.outputs, arrays):
            if wanted and port.name not in wanted:
                continue
            if port.datatype == "BYTES":
                outputs.append(StringCodec.encode_output(port.name, list(array.reshape(-1))))
            else:
                outputs.append(NumpyCodec.encode_output(port.name, array))
        return InferenceResponse(model_name=self.name, model_version=self.version, id=payload.id, outputs=outputs)
