// Requests and replies of the Open Inference Protocol, version 2, as a server reads and writes them. Nothing of a request
// is trusted: its lengths are checked before anything of their size is allocated, its tensors against the model.
import { concatBytes } from "../core/concat-bytes.ts";
import { checkFeeds } from "../core/check-inputs.ts";
import type { Tensor } from "../core/tensor.ts";
import { datatypeOf } from "../remote/datatypes.ts";
import { decodeTensor } from "../remote/decode.ts";
import type { Rest } from "../remote/decode.ts";
import { toBytes } from "../remote/encode.ts";
import { flatOf, parseJson, readData, writeData } from "../remote/json-tensors.ts";
import { asObject } from "../remote/plain-json.ts";
import { HttpError } from "./http-error.ts";
import type { ServeTensors } from "./lane.ts";
import { readJson } from "./read-json.ts";
import type { ServedModel } from "./served-models.ts";

/** A decoded request. */
export interface InferCall {
  /** The request's id; undefined where it has none. */
  readonly id: string | undefined;
  readonly feeds: ServeTensors;
  /** The outputs to return, in their order, and whether each is sent as bytes. */
  readonly outputs: readonly { readonly name: string; readonly isBinary: boolean }[];
}

/** An encoded reply. */
export interface EncodedReply {
  readonly body: Uint8Array;
  /** Length of the JSON in front of tensor bytes; null where JSON is all. */
  readonly headerLength: number | null;
}

type Fields = Readonly<Record<string, unknown>>;

/** Numbers that JSON lacks, as clients write them. */
const NUMBERS: Readonly<Record<string, number>> = { NaN: NaN, Infinity: Infinity, "-Infinity": -Infinity };
const ID_MAX = 1_024;
/** Maximum size of JSON, in bytes: parsed, its numbers take some ten times as much. */
const JSON_MAX = 8 * 2 ** 20;
/**
 * Maximum number of an answer's elements in JSON, as many as a request's JSON can have: 10 million took 10 s, in which the
 * server answers nothing else, and 40 million are no string.
 */
const JSON_ELEMENTS_MAX = JSON_MAX / 2;
/**
 * Maximum product of an empty tensor's other sizes that the model leaves open: they cost the client no byte, and the model
 * may make outputs of them. An input of [0, 2,000,000,000] to a maximum along axis 0 took 8 GB.
 */
const EMPTY_CLAIM_MAX = 65_536;

/**
 * Decodes a request. `headerLength` is the header `Inference-Header-Content-Length`, which marks tensor bytes.
 * @throws Error that says what is wrong with it
 */
export function decodeCall(
  model: ServedModel,
  body: Uint8Array,
  headerLength: string | undefined,
  maxRows: number,
): InferCall {
  const length = headerLength === undefined ? body.length : Number(headerLength);
  if (headerLength !== undefined && (!/^\d{1,15}$/.test(headerLength) || length > body.length))
    throw new TypeError(`Inference-Header-Content-Length is ${headerLength}, the body has ${body.length} bytes`);
  if (length > JSON_MAX)
    throw new RangeError(`the request has ${length} bytes of JSON, at most ${JSON_MAX}: send large tensors as bytes`);
  const request = readJson(body.subarray(0, length), parseJson);
  const rest: Rest = { bytes: body.subarray(length), offset: 0, isBinary: false, json: { parseJson, readData } };
  const inputs = listOf(request, "inputs", model.inputs.length);
  const entries = Object.fromEntries(inputs.map((x) => inputOf(model, x, rest)));
  if (Object.keys(entries).length < inputs.length) throw new TypeError("two inputs have one name");
  if (rest.offset !== rest.bytes.length)
    throw new RangeError(`inputs have ${rest.offset} bytes, the body has ${rest.bytes.length} after its JSON`);
  checkFeeds(model.inputs, entries);
  checkRows(model, entries, maxRows);
  checkEmpty(model, entries);
  const id = request["id"] ?? undefined;
  if (id !== undefined && (typeof id !== "string" || id.length > ID_MAX))
    throw new TypeError(`id: expected a text of at most ${ID_MAX} characters`);
  return { id, feeds: entries, outputs: outputsOf(model, request) };
}

function listOf(request: Fields, field: string, most: number): readonly Fields[] {
  const list = request[field];
  if (!Array.isArray(list)) throw new TypeError(`the request has no ${field}`);
  if (list.length > most) throw new TypeError(`the request has ${list.length} ${field}, the model ${most}`);
  return list.map((x: unknown) => asObject(x, `one of ${field}`));
}

/** Throws where a request has more rows than may run at once: a run can't be stopped. */
function checkRows({ inputs }: ServedModel, feeds: ServeTensors, maxRows: number): void {
  for (const { name, batchAxis } of inputs) {
    const rows = feeds[name]?.dims[batchAxis ?? -1] ?? 0;
    if (rows > maxRows)
      throw new RangeError(`input "${name}" has ${rows} rows, at most ${maxRows} (--max-rows): send several requests`);
  }
}

/** Throws where a tensor without elements claims a large size. */
function checkEmpty({ inputs }: ServedModel, feeds: ServeTensors): void {
  for (const port of inputs) {
    const dims = feeds[port.name]?.dims ?? [];
    if (!dims.includes(0)) continue;
    const claimed = dims.reduce((product, x, axis) => (x === 0 || x === port.dims[axis] ? product : product * x), 1);
    if (claimed > EMPTY_CLAIM_MAX)
      throw new RangeError(
        `input "${port.name}" has no elements and the shape [${dims.join(", ")}]: its other sizes are too large`,
      );
  }
}

function inputOf(model: ServedModel, entry: Fields, rest: Rest): readonly [string, Tensor] {
  const port = model.inputs.find((x) => x.name === entry["name"]);
  const { datatype, data, shape } = entry;
  if (port !== undefined && datatype !== datatypeOf(port.dtype))
    throw new TypeError(
      `input "${port.name}" is ${JSON.stringify(datatype)}, the model takes ${datatypeOf(port.dtype)}`,
    );
  const read = readerOf(datatype);
  const values =
    read !== null && Array.isArray(data)
      ? flatOf(`input ${JSON.stringify(entry["name"])?.slice(0, 100)}`, data, Array.isArray(shape) ? shape : []).map(
          (value) => (typeof value === "string" ? read(value) : value),
        )
      : data;
  const { name, tensor } = decodeTensor({ ...entry, ...(data !== undefined && { data: values }) }, rest, "input");
  return [name, tensor];
}

/** Returns the reader of texts among a type's numbers, which leaves those that are none; null for other types. */
function readerOf(datatype: unknown): ((value: string) => unknown) | null {
  if (datatype === "INT64" || datatype === "UINT64") return integerOf;
  return typeof datatype === "string" && datatype.startsWith("FP") ? (value) => NUMBERS[value] ?? value : null;
}

/** Reads an integer that JSON's numbers may not hold, as clients write a BigInt. */
function integerOf(value: string): unknown {
  if (!/^-?\d{1,20}$/.test(value)) return value;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : { digits: value };
}

function outputsOf({ outputs }: ServedModel, request: Fields): InferCall["outputs"] {
  const isBinary = flagOf(request, "binary_data_output") ?? false;
  const wanted = (request["outputs"] ?? undefined) === undefined ? [] : listOf(request, "outputs", outputs.length);
  if (wanted.length === 0) return outputs.map(({ name }) => ({ name, isBinary }));
  const names = wanted.map((x) => x["name"]);
  if (new Set(names).size < names.length) throw new TypeError("two outputs have one name");
  return wanted.map((entry) => {
    const found = outputs.find((x) => x.name === entry["name"]);
    if (found === undefined)
      throw new TypeError(
        `the model has no output ${JSON.stringify(entry["name"])}, only ${outputs.map((x) => `"${x.name}"`).join(", ")}`,
      );
    return { name: found.name, isBinary: flagOf(entry, "binary_data") ?? isBinary };
  });
}

function flagOf({ parameters }: Fields, name: string): boolean | undefined {
  const value = typeof parameters === "object" && parameters !== null ? (parameters as Fields)[name] : undefined;
  return typeof value === "boolean" ? value : undefined;
}

/**
 * Encodes a reply. JSON has no NaN and no Infinity: both are null there, as KServe and MLServer write them.
 * @throws HttpError 400 where it is too large for JSON
 */
export function encodeReply(model: ServedModel, { id, outputs }: InferCall, answers: ServeTensors): EncodedReply {
  const written = outputs.reduce((sum, x) => sum + (x.isBinary ? 0 : (answers[x.name]?.data.length ?? 0)), 0);
  if (written > JSON_ELEMENTS_MAX)
    throw new HttpError(
      400,
      `the answer has ${written} elements, in JSON at most ${JSON_ELEMENTS_MAX}: ask for bytes (binary_data_output)`,
    );
  const parts: Uint8Array[] = [];
  const entries = outputs.map(({ name, isBinary }) => {
    const tensor = answers[name];
    if (tensor === undefined) throw new Error(`the model did not return output "${name}"`);
    const datatype = datatypeOf(tensor.dtype);
    const head = `{"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[${tensor.dims.join()}]`;
    if (!isBinary) {
      const data = writeData(datatype, tensor);
      return `${head},"data":${datatype.startsWith("FP") ? data.replaceAll(/"[^"]+"/g, "null") : data}}`;
    }
    const bytes = toBytes({ datatype, tensor });
    parts.push(bytes);
    return `${head},"parameters":{"binary_data_size":${bytes.byteLength}}}`;
  });
  const own = { model_name: model.name, model_version: model.version, ...(id !== undefined && { id }) };
  const head = new TextEncoder().encode(`${JSON.stringify(own).slice(0, -1)},"outputs":[${entries.join()}]}`);
  return { body: concatBytes([head, ...parts]), headerLength: outputs.some((x) => x.isBinary) ? head.length : null };
}
