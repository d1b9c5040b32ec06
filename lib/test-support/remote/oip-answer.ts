// The server's side of the Open Inference Protocol for tests: metadata, readiness and infer with JSON or bytes, of models
// that a test computes. A function of a request, so that a simulated world, an HTTP server and a browser test share it.
import { concatBytes } from "../../core/concat-bytes.ts";
import { ARRAY_TYPES } from "../../core/tensor.ts";
import type { Tensor } from "../../core/tensor.ts";
import { DTYPE_OF } from "../../remote/datatypes.ts";
import type { Datatype } from "../../remote/datatypes.ts";

/** An input or output, as metadata declares it. */
export interface ServedPort {
  readonly name: string;
  readonly datatype: Exclude<Datatype, "BYTES" | "BF16">;
  /** −1 where any size is accepted. */
  readonly shape: readonly number[];
}

/** A model of a server. */
export interface OipModel {
  readonly name: string;
  readonly version: string;
  readonly inputs: readonly ServedPort[];
  readonly outputs: readonly ServedPort[];
  readonly run: (feeds: Readonly<Record<string, Tensor>>) => Promise<Readonly<Record<string, Tensor>>>;
}

/** A reply. */
export interface OipReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** A tensor in the head of a request. */
interface HeadTensor {
  readonly name: string;
  readonly datatype: ServedPort["datatype"];
  readonly shape: readonly number[];
  readonly data?: readonly number[];
  readonly parameters?: { readonly binary_data_size?: number };
}

/** Header with the length of a message's JSON where bytes follow. */
export const LENGTH_HEADER = "inference-header-content-length";

/** Answers a request: its path, its length header (null for JSON), and its body. */
export async function answerOip(
  models: readonly OipModel[],
  path: string,
  length: string | null,
  body: Uint8Array<ArrayBuffer>,
): Promise<OipReply> {
  if (path.startsWith("/v2/health")) return json({});
  const [, name, call = ""] = /^\/v2\/models\/([^/]+)(?:\/versions\/[^/]+)?(?:\/(\w+))?$/.exec(path) ?? [];
  const model = models.find((x) => x.name === decodeURIComponent(name ?? ""));
  if (model === undefined) return json({ error: `there is no ${path}` }, 404);
  const { version, inputs, outputs } = model;
  if (call !== "infer") return json({ name: model.name, versions: [version], platform: "test", inputs, outputs });
  const end = length === null ? body.length : Number(length);
  const head = JSON.parse(new TextDecoder().decode(body.subarray(0, end))) as {
    readonly id: string;
    readonly inputs: readonly HeadTensor[];
    readonly parameters?: { readonly binary_data_output?: boolean };
  };
  const answers = await model.run(readTensors(head.inputs, body.slice(end)));
  const isBinary = head.parameters?.binary_data_output === true;
  return reply(model, head.id, answers, isBinary);
}

function readTensors(tensors: readonly HeadTensor[], bytes: Uint8Array<ArrayBuffer>): Record<string, Tensor> {
  let at = 0;
  return Object.fromEntries(
    tensors.map(({ name, datatype, shape, data, parameters }) => {
      const dtype = DTYPE_OF[datatype] as "float32";
      const Values = ARRAY_TYPES[dtype] as Float32ArrayConstructor;
      const size = parameters?.binary_data_size ?? 0;
      const values =
        data === undefined
          ? new Values(bytes.slice(at, at + size).buffer)
          : Values.from((data as readonly unknown[]).flat(Infinity) as number[]);
      at += size;
      return [name, { dtype, dims: [...shape], data: values } satisfies Tensor];
    }),
  );
}

function reply(
  { name, version, outputs: ports }: OipModel,
  id: string,
  answers: Readonly<Record<string, Tensor>>,
  isBinary: boolean,
): OipReply {
  const parts: Uint8Array[] = [];
  const outputs = ports.map(({ name: output, datatype }) => {
    const { dims, data } = answers[output] as Tensor<"float32">;
    const own = { name: output, datatype, shape: dims };
    if (!isBinary) return { ...own, data: [...data] };
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    return { ...own, parameters: { binary_data_size: data.byteLength } };
  });
  const head = json({ id, model_name: name, model_version: version, outputs });
  if (!isBinary) return head;
  const body = concatBytes([head.body, ...parts]);
  const headers = { "content-type": "application/octet-stream", [LENGTH_HEADER]: String(head.body.length) };
  return { status: 200, headers, body };
}

function json(value: unknown, status = 200): OipReply {
  const body = new TextEncoder().encode(JSON.stringify(value));
  return { status, headers: { "content-type": "application/json" }, body };
}
