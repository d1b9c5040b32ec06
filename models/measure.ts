// Measures every variant and writes measured.json: `npx tsx models/measure.ts --lines 2000`.
//
// Where its operators run comes from ONNX Runtime's log, on WebGPU (a software adapter decides the same) and on the CPU.
// A variant of the recogniser also reads rendered lines, of which the share read exactly is its metric, spaces aside, in
// onnxruntime-node with the package's own pre- and post-processing.
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { InferenceSession, Tensor } from "onnxruntime-node";
import sharp from "sharp";
import { lines } from "../e2e/corpus/render.ts";
import { isExact } from "../e2e/corpus/score.ts";
import type { Variant } from "../lib/bundle.ts";
import { assign } from "../lib/compress/assign.ts";
import type { PackInput, PackVariant } from "../lib/compress/pack.ts";
import { createDecoder } from "../lib/postprocess/decode.ts";
import { imageToTensor } from "../lib/preprocess/image.ts";
import { MEASURED_PATH, modelHash } from "./measured.ts";
import type { Measurement } from "./measured.ts";
import { RECIPES } from "./recipes.ts";

/** The variant that others are compared with. */
const REFERENCE = "f32";

const { values } = parseArgs({ options: { lines: { type: "string", default: "2000" } } });
const measurements: Record<string, Measurement> = {};
for (const recipe of RECIPES) {
  const input = recipe.build();
  const rates = isReader(input) ? await readLines(input, Number(values.lines)) : undefined;
  for (const variant of input.variants) {
    const assignment = await assignments(variant);
    const metric = rates?.(variant.id);
    const key = `${input.model.name}/${variant.id}`;
    measurements[key] = { sha256: await modelHash(variant), ...(metric && { metric }), assignment };
    console.log(key, JSON.stringify(measurements[key]));
  }
}
writeFileSync(MEASURED_PATH, `${JSON.stringify(measurements, null, 2)}\n`);

function isReader(input: PackInput): boolean {
  return input.model.outputs[0]?.decode?.op === "ctc";
}

async function assignments(variant: PackVariant): Promise<NonNullable<Variant["assignment"]>> {
  const bytes = variant.files[0]?.bytes ?? new Uint8Array();
  return {
    ...(!variant.needs.includes("wasm") && { webgpu: await assign(bytes, "webgpu", variant.session?.webgpu) }),
    wasm: await assign(bytes, "wasm", variant.session?.wasm),
  };
}

/** Lets every variant read the same lines; gives the metric of each. */
async function readLines(input: PackInput, count: number): Promise<(id: string) => NonNullable<Variant["metric"]>> {
  const [port] = input.model.inputs;
  const [output] = input.model.outputs;
  if (port?.image === undefined || output?.decode === undefined) throw new Error(`${input.model.name} reads no images`);
  const assets = (input.assets ?? []).map((x) => [x.path, new TextDecoder().decode(x.bytes)] as const);
  const decode = createDecoder(output.name, output.decode, Object.fromEntries(assets));
  const sessions: { id: string; session: InferenceSession; exact: number }[] = [];
  for (const { id, files, session } of input.variants) {
    const options = { logSeverityLevel: 3, intraOpNumThreads: 1, extra: { ...session?.wasm } } as const;
    sessions.push({
      id,
      session: await InferenceSession.create(files[0]?.bytes ?? new Uint8Array(), options),
      exact: 0,
    });
  }
  const corpus = await lines(count);
  for (const { file, text } of corpus) {
    const { data, info } = await sharp(file).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
    const pixels = { width: info.width, height: info.height, data: new Uint8ClampedArray(data) };
    const tensor = imageToTensor(pixels, port.image, port.dtype);
    const feed = { [port.name]: new Tensor("float32", tensor.data as Float32Array, [...tensor.dims]) };
    for (const one of sessions) {
      const result = (await one.session.run(feed))[output.name];
      if (result?.type !== "float32") throw new Error(`${output.name} is not float32`);
      const [answer] = decode({ dtype: "float32", dims: result.dims, data: result.data });
      if (answer?.kind === "text" && isExact(text, answer.text)) one.exact++;
    }
  }
  for (const { session } of sessions) await session.release();
  const rate = (id: string): number => (sessions.find((x) => x.id === id)?.exact ?? Number.NaN) / corpus.length;
  return (id) => ({ name: "exact-lines", value: rate(id), reference: rate(REFERENCE), n: corpus.length });
}
