// The toolchain's output runs on the GPU: the forms of each model with weights of 8 and of 4 bits, pinned to WebGPU,
// with only shape arithmetic on the CPU, answers within tolerance of wasm's, and the expected device memory.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { canonicalJson } from "../../../lib/core/bundle.ts";
import { deviceBytes } from "../../../lib/compress/check/device-bytes.ts";
import { sqnr } from "../../../lib/compress/run/metric.ts";
import type { Outputs } from "../../../lib/compress/run/metric.ts";
import { formsFor } from "../../../lib/compress/forms/forms.ts";
import { foldConstants } from "../../../lib/compress/run/infer-values.ts";
import { describePorts } from "../../../lib/compress/bundle/inspect.ts";
import { readModel } from "../../../lib/compress/onnx/model.ts";
import { packBundle, writePacked } from "../../../lib/compress/bundle/pack.ts";
import type { PackVariant } from "../../../lib/compress/bundle/pack.ts";
import { openModel } from "../../../lib/compress/run/session.ts";
import { simplify } from "../../../lib/compress/simplify/simplify.ts";
import { ocrDet } from "../../../models/ocr-det.ts";
import { ocrRec } from "../../../models/ocr-rec.ts";
import { byteLm, POSITIONS } from "../../bench/scenarios/byte-lm.ts";
import { ROOT } from "../../support/prepare.ts";
import { keep } from "../../support/suite.ts";
import type * as Selvedge from "selvedge";

const FOLDER = join(ROOT, "e2e/.cache/compressed");
/** Two backends round differently; the error of a wrong kernel is far larger. */
const LEAST_DB = 30;

const MODELS = [
  {
    name: "ocr-rec",
    read: () => readSource(ocrRec.sources[0]),
    forms: ["int8"],
    dims: [1, 3, 48, 96],
    dtype: "float32",
  },
  {
    name: "ocr-det",
    read: () => readSource(ocrDet.sources[0]),
    forms: ["int8"],
    dims: [1, 3, 64, 96],
    dtype: "float32",
  },
  { name: "byte-lm", read: () => byteLm().write(), forms: ["int8", "int4"], dims: [1, POSITIONS], dtype: "int32" },
] as const;

for (const { name, read, forms, dims, dtype } of MODELS)
  test(`${name}: ${forms.join(" and ")} run on WebGPU alone, and answer as on wasm${name === "byte-lm" ? "" : " @swiftshader"}`, async ({
    page,
  }) => {
    const { pages } = test.info().config.metadata as { pages: string };
    const files = await pack(name, read(), forms);
    await countDeviceBytes(page);
    await page.goto(`${pages}/engine.html`);
    await page.waitForFunction("globalThis.selvedge !== undefined");
    const bundle = `/corpus/compressed/${name}/bundle.json`;
    const ranOn = async (backend: Asked["backend"], variant: string): Promise<Ran> => {
      const asked: Asked = { bundle, variant, backend, dims: [...dims], dtype, data: valuesFor(dims, dtype) };
      return page.evaluate(run, asked);
    };
    const whole = await ranOn("webgpu", "f32");
    for (const variant of forms) {
      const webgpu = await ranOn("webgpu", variant);
      expect(webgpu.backend).toBe("webgpu");
      // The browser builds have no CPU kernels for forms made for the GPU alone.
      const { bytes, isForGpu } = files[variant] ?? { bytes: new Uint8Array(), isForGpu: false };
      const other = isForGpu ? await ranInNode(bytes, dims, dtype) : outputsOf(await ranOn("wasm", variant));
      expect(webgpu.assignment).toMatchObject({ cpu: 0 });
      expect(webgpu.assignment?.device).toBeGreaterThan(0);
      const ratio = sqnr([{ outputs: outputsOf(webgpu), reference: other }]);
      // The report's size of the weights equals that of the device's buffers, relative to float32's.
      const told = (id: string): number => deviceBytes(readModel(files[id]?.bytes ?? new Uint8Array()));
      const saved = told("f32") - told(variant);
      await keep(test.info(), {
        model: name,
        variant,
        ratio,
        deviceBytes: webgpu.deviceBytes,
        deviceBytesOfFloat32: whole.deviceBytes,
        saved,
        ...(webgpu.assignment ?? {}),
      });
      expect(ratio).toBeGreaterThan(LEAST_DB);
      expect(Math.abs(whole.deviceBytes - webgpu.deviceBytes - saved)).toBeLessThan(0.05 * whole.deviceBytes);
      if (name === "byte-lm") expect(webgpu.deviceBytes).toBeLessThan(0.4 * whole.deviceBytes);
    }
  });

/** Result of one run. */
interface Ran {
  readonly backend: string;
  readonly assignment: { device: number; shape: number; cpu: number; copies: number } | null;
  readonly outputs: readonly {
    readonly name: string;
    readonly dims: readonly number[];
    readonly data: readonly number[];
  }[];
  /** Peak of the bytes in buffers of the device. */
  readonly deviceBytes: number;
}

interface Asked {
  readonly bundle: string;
  readonly variant: string;
  readonly backend: "webgpu" | "wasm";
  readonly dims: readonly number[];
  readonly dtype: "float32" | "int32";
  readonly data: readonly number[];
}

/** Returns the values of an input. */
function valuesFor(dims: readonly number[], dtype: Asked["dtype"]): number[] {
  const length = dims.reduce((product, size) => product * size, 1);
  if (dtype === "int32") return Array.from({ length }, (_, i) => (i * 37) % 256);
  // A white page with black strokes: on noise the detector's outputs are almost 0, and a ratio is meaningless.
  const [height = 1, width = 1] = dims.slice(-2);
  return Array.from({ length }, (_, i) => {
    const [row, column] = [Math.floor((i % (height * width)) / width), i % width];
    return row % 24 > 8 && row % 24 < 20 && column % 9 > 3 ? -2 : 2.2;
  });
}

async function ranInNode(bytes: Uint8Array, dims: readonly number[], dtype: Asked["dtype"]): Promise<Outputs> {
  const model = await openModel(bytes, "cpu");
  const values = valuesFor(dims, dtype);
  const data = dtype === "int32" ? Int32Array.from(values) : Float32Array.from(values);
  const [input = ""] = (await describePorts(readModel(bytes))).inputs.map((x) => x.name);
  try {
    return await model.run({ [input]: { dtype, dims, data } as Selvedge.Tensor });
  } finally {
    await model.release();
  }
}

/** Runs in the page. */
async function run({ bundle, variant, backend, dims, dtype, data }: Asked): Promise<Ran> {
  const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
  const channel = new BroadcastChannel("device-bytes");
  const engine = await createEngine({ backends: [backend], workers: 1, verbose: true });
  try {
    const model = await engine.load(bundle, { backend, variant });
    const values = dtype === "int32" ? Int32Array.from(data) : Float32Array.from(data);
    const { outputs, info } = await model.run({
      [model.inputs[0]?.name ?? ""]: { dtype, dims, data: values } as Selvedge.Tensor,
    });
    const told = Object.entries(outputs).map(([name, x]) => {
      return { name, dims: [...x.dims], data: Array.from(x.data as Float32Array) };
    });
    // Asked, since what the worker tells by itself may come later than its answer. One without a device tells 0.
    const deviceBytes = await new Promise<number>((resolve) => {
      if (info.backend !== "webgpu") resolve(0);
      channel.onmessage = ({ data }) => {
        if (Number(data) > 0) resolve(Number(data));
      };
      channel.postMessage("peak");
    });
    return { backend: info.backend, assignment: model.assignment, outputs: told, deviceBytes };
  } finally {
    await engine.close();
    channel.close();
  }
}

function outputsOf({ outputs }: Ran): Outputs {
  return Object.fromEntries(outputs.map(({ name, dims, data }) => [name, { dims, data }]));
}

/** Makes the worker tell the peak of the bytes in its buffers when it is asked: WebGPU has no interface for it. */
async function countDeviceBytes(page: Page): Promise<void> {
  const count = `if (self.GPUDevice && !self.name.startsWith("em-pthread")) {
    const channel = new BroadcastChannel("device-bytes");
    const { createBuffer } = GPUDevice.prototype;
    let [bytes, peak] = [0, 0];
    channel.onmessage = () => channel.postMessage(peak);
    GPUDevice.prototype.createBuffer = function (options) {
      const buffer = createBuffer.call(this, options);
      const { destroy } = buffer;
      bytes += options.size;
      peak = Math.max(peak, bytes);
      let isGone = false;
      buffer.destroy = () => {
        if (!isGone) bytes -= options.size;
        isGone = true;
        destroy.call(buffer);
      };
      return buffer;
    };
  }\n`;
  await page.route("**/worker-jspi.js", async (route) => {
    const response = await route.fetch({ maxRetries: 3 });
    await route.fulfill({ response, body: count + (await response.text()) });
  });
}

/** Makes the forms of a model with the toolchain, and packs them; once for both browsers. */
async function pack(
  name: string,
  bytes: Uint8Array,
  forms: readonly string[],
): Promise<Record<string, { readonly bytes: Uint8Array; readonly isForGpu: boolean }>> {
  const folder = join(FOLDER, name);
  const simple = readModel(bytes).transform(simplify());
  await foldConstants(simple);
  const whole = simple.write();
  const variants: PackVariant[] = [];
  const made: Awaited<ReturnType<typeof pack>> = {};
  for (const form of formsFor(["webgpu"], forms)) {
    const model = readModel(whole);
    if (form.id !== "f32") await form.make(model, [], { isSynthetic: true });
    const file = model.write();
    const { id, needs, session } = form;
    made[id] = { bytes: file, isForGpu: needs.includes("webgpu") };
    variants.push({
      id,
      needs,
      ...(session && { session }),
      files: [{ path: "model.onnx", bytes: file, isModel: true }],
    });
  }
  const { inputs, outputs } = await describePorts(readModel(whole));
  const packed = await packBundle(
    { model: { name, version: "1", licence: "unknown", inputs, outputs }, variants },
    { quality: 9 },
  );
  const text = existsSync(join(folder, "bundle.json")) ? readFileSync(join(folder, "bundle.json"), "utf8") : "";
  if (text !== `${canonicalJson(packed.json)}\n`) await writePacked(folder, packed);
  return made;
}

function readSource(path: string | undefined): Uint8Array {
  return new Uint8Array(readFileSync(path ?? ""));
}
