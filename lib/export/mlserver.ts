// Settings of a model for MLServer, and the runtime that they name: MLServer has none for ONNX, so a module for it is
// written beside the model.
import { GRAPH } from "./exported-model.ts";
import type { ServerModel, ServerPort } from "./exported-model.ts";

/** Name of the runtime's file. */
export const RUNTIME = "selvedge_onnx.py";

/** How long a request waits for others to run with it, in seconds. */
const BATCH_S = 0.002;

/**
 * Writes model-settings.json. MLServer joins requests without a look at their shapes, so only models whose sizes are
 * fixed, apart from the batch, are batched.
 */
export function mlserverSettings(model: ServerModel, maxBatchSize: number): string {
  const { name, inputs, outputs, isBatchable } = model;
  const isFixed = [...inputs, ...outputs].every(({ dims }) => dims.slice(1).every((x) => x >= 0));
  const port = ({ dims, ...rest }: ServerPort): object => ({ ...rest, shape: dims });
  const settings = {
    name,
    implementation: `${RUNTIME.replace(".py", "")}.OnnxModel`,
    inputs: inputs.map(port),
    outputs: outputs.map(port),
    ...(isBatchable && isFixed && maxBatchSize > 1 && { max_batch_size: maxBatchSize, max_batch_time: BATCH_S }),
    parameters: { uri: `./${GRAPH}`, version: "1" },
  };
  return `${JSON.stringify(settings, null, 2)}\n`;
}

/** Source of the runtime: needs the packages mlserver, onnxruntime and numpy. */
export const RUNTIME_SOURCE = `"""An MLServer runtime that runs an ONNX model on ONNX Runtime. Written by selvedge export mlserver."""

import asyncio

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceResponse
from mlserver.utils import get_model_uri


class OnnxModel(MLModel):
    async def load(self):
        self._session = onnxruntime.InferenceSession(await get_model_uri(self._settings))
        return True

    async def predict(self, payload):
        feeds = {x.name: self._decode(x) for x in payload.inputs}
        names = [x.name for x in self._session.get_outputs()]
        wanted = {x.name for x in payload.outputs or []} or set(names)
        unknown = wanted.difference(names)
        if unknown:
            raise InferenceError(f"the model has no output {sorted(unknown)}, only {names}")
        try:
            arrays = await asyncio.to_thread(self._session.run, None, feeds)
        except Exception as error:
            raise InferenceError(str(error))
        outputs = [self._encode(n, a) for n, a in zip(names, arrays) if n in wanted]
        return InferenceResponse(model_name=self.name, model_version=self.version, id=payload.id, outputs=outputs)

    @staticmethod
    def _decode(tensor):
        if tensor.datatype != "BYTES":
            return NumpyCodec.decode_input(tensor)
        return np.array(StringCodec.decode_input(tensor), dtype=object).reshape(tensor.shape)

    @staticmethod
    def _encode(name, array):
        is_text = array.dtype == object
        output = StringCodec.encode_output(name, list(array.reshape(-1))) if is_text else NumpyCodec.encode_output(name, array)
        output.shape = list(array.shape)
        return output
`;
