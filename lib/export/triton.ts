// Configuration of a model for NVIDIA Triton's onnxruntime backend: config.pbtxt, a message ModelConfig in protobuf's
// text format.
import type { ServerModel, ServerPort } from "./exported-model.ts";

/** Options of a Triton model. */
export interface TritonOptions {
  /** Maximum number of rows that run together; 1 for no batching. */
  readonly maxBatchSize: number;
  /** Number of instances of the model on each server. */
  readonly instances: number;
}

/** How long a request waits for others to run with it, in microseconds: short beside a run, enough for a burst. */
const QUEUE_DELAY_US = 500;

/**
 * Writes config.pbtxt. Where requests may be batched, Triton's dims leave the batch axis out; else they are complete.
 * @throws TypeError where the model does not state how many axes a tensor has
 */
export function tritonConfig(model: ServerModel, { maxBatchSize, instances }: TritonOptions): string {
  if (model.openRanks.length > 0)
    throw new TypeError(
      `${model.openRanks.join(", ")}: the model does not state the number of axes, which Triton needs: declare the shape in the ONNX file`,
    );
  const isBatched = model.isBatchable && maxBatchSize > 1;
  const ports = (field: string, list: readonly ServerPort[]): string[] =>
    list.map((port) => `${field} [ { ${portText(port, isBatched)} } ]`);
  return [
    `name: ${quoted(model.name)}`,
    'backend: "onnxruntime"',
    `max_batch_size: ${isBatched ? maxBatchSize : 0}`,
    ...ports("input", model.inputs),
    ...ports("output", model.outputs),
    ...(isBatched ? [`dynamic_batching { max_queue_delay_microseconds: ${QUEUE_DELAY_US} }`] : []),
    `instance_group [ { count: ${instances} kind: KIND_AUTO } ]`,
    "",
  ].join("\n");
}

function portText({ name, datatype, dims }: ServerPort, isBatched: boolean): string {
  const type = `TYPE_${datatype === "BYTES" ? "STRING" : datatype}`;
  // Triton declares no tensor without axes; one element stands for it.
  const shape = dims.length === 0 ? [1] : dims.slice(Number(isBatched));
  return `name: ${quoted(name)} data_type: ${type} dims: [ ${shape.join(", ")} ]`;
}

/** Quotes a string of the text format, whose escapes are C's: bytes of UTF-8 beyond ASCII are octal. */
function quoted(text: string): string {
  const bytes = Array.from(new TextEncoder().encode(text), (x) =>
    x < 0x20 || x > 0x7e || x === 0x22 || x === 0x5c ? `\\${x.toString(8).padStart(3, "0")}` : String.fromCharCode(x),
  );
  return `"${bytes.join("")}"`;
}
