// Table of invalid inputs of `run`, and properties of valid ones.
import fc from "fast-check";
import { expect, test } from "vitest";
import type { BundleInput } from "../core/bundle.ts";
import { browserEffects } from "../effects/effects.ts";
import { Slab, takeInputs as takeAtOnce, takeTensor } from "./inputs.ts";
import type { ImageInput, Inputs } from "./inputs.ts";
import { ARRAY_TYPES, zeros } from "../core/tensor.ts";
import type { NumericDtype, Port, Tensor } from "../core/tensor.ts";

const effects = browserEffects();
const takeInputs = async (...args: Parameters<typeof takeAtOnce>) => takeAtOnce(...args);
const x: Port = { name: "x", dtype: "float32", dims: ["batch", 3, "width"], batchAxis: 0 };
const mask: Port = { name: "mask", dtype: "int64", dims: ["batch", "width"], batchAxis: 0 };
const accepts = { ports: [x, mask] };
const good = {
  x: { dtype: "float32", dims: [2, 3, 4], data: new Float32Array(24) },
  mask: { dtype: "int64", dims: [2, 4], data: new BigInt64Array(8) },
} as const;

function detached(): Float32Array {
  const data = new Float32Array(24);
  structuredClone(data.buffer, { transfer: [data.buffer] });
  return data;
}

const with_ = (change: object): unknown => ({ ...good, x: { ...good.x, ...change } });

test.each<[string, unknown, typeof TypeError | typeof RangeError, RegExp]>([
  ["no object", null, TypeError, /expected \{ x, mask \}, got null/],
  ["a text alone", "a text", TypeError, /expected \{ x, mask \}, got "a text"/],
  ["an array alone", new Float32Array(72), TypeError, /expected \{ x, mask \}, got Float32Array/],
  ["an empty array alone", new Float32Array(0), TypeError, /expected \{ x, mask \}, got Float32Array/],
  ["a list alone", [1, 2, 3], TypeError, /expected \{ x, mask \}, got Array/],
  ["a map", new Map(Object.entries(good)), TypeError, /expected \{ x, mask \}, got Map/],
  ["a file alone", new Blob([]), TypeError, /expected \{ x, mask \}, got Blob/],
  ["a tensor alone", good.x, TypeError, /no input "dtype", only "x", "mask"/],
  ["a missing input", { x: good.x }, TypeError, /"mask" is missing/],
  ["an extra input", { ...good, y: good.x }, TypeError, /no input "y"/],
  ["a prototype's name", { ...good, constructor: good.x }, TypeError, /no input "constructor"/],
  [
    "no tensor",
    { ...good, x: [1, 2, 3] },
    TypeError,
    /expected \{ dtype, dims, data \} or its Float32Array, got Array/,
  ],
  ["a wrong dtype", with_({ dtype: "float16" }), TypeError, /expected dtype float32, got "float16"/],
  ["a wrong array class", with_({ data: new Float64Array(24) }), TypeError, /must be a Float32Array, got Float64Array/],
  ["a plain array", with_({ data: Array.from({ length: 24 }, () => 0) }), TypeError, /got Array/],
  ["dims that are no array", with_({ dims: 24 }), TypeError, /dims must be an array/],
  ["NaN dims", with_({ dims: [2, 3, Number.NaN] }), RangeError, /whole numbers/],
  ["negative dims", with_({ dims: [2, 3, -4] }), RangeError, /whole numbers/],
  ["broken dims", with_({ dims: [2, 3, 4.5] }), RangeError, /whole numbers/],
  ["huge dims", with_({ dims: [2, 3, 2 ** 31 - 1] }), RangeError, /need \d/],
  ["a wrong rank", with_({ dims: [2, 12] }), RangeError, /expected dims \[batch, 3, width\]/],
  ["a wrong fixed dim", with_({ dims: [2, 4, 3] }), RangeError, /expected dims \[batch, 3, width\], got \[2, 4, 3\]/],
  ["an empty batch", with_({ dims: [0, 3, 4], data: new Float32Array(0) }), RangeError, /batch is empty/],
  ["too few elements", with_({ data: new Float32Array(23) }), RangeError, /need 24 elements, data has 23/],
  [
    "inputs that disagree",
    { ...good, x: { ...good.x, dims: [2, 3, 5], data: new Float32Array(30) } },
    RangeError,
    /"width" is 4, but 5/,
  ],
  ["a detached buffer", with_({ data: detached() }), TypeError, /its buffer is detached or resized/],
  [
    "an image where none is declared",
    { ...good, x: new Blob(["x"]) },
    TypeError,
    /declares no image \(for an .onnx file, load\(url, \{ image \}\) describes one\), got Blob/,
  ],
])("%s is rejected with a clear error", async (_, inputs, kind, message) => {
  const taken = takeInputs(effects, accepts, inputs as Inputs, false);
  await expect(taken).rejects.toThrow(kind);
  await expect(takeInputs(effects, accepts, inputs as Inputs, false)).rejects.toThrow(message);
});

test("a value that is no image is rejected with the name of its input", async () => {
  const image = { resize: { mode: "exact", width: 4, height: 4 }, channels: "rgb", layout: "nchw" } as const;
  const broken = { ...effects, createImageBitmap: () => Promise.reject(new Error("decode")) };
  const fail = async (kind: string, fields: object = {}): Promise<string> => {
    const value = kind === "" ? fields : { ...fields, [Symbol.toStringTag]: kind };
    return takeInputs(broken, { ports: [{ ...x, image }] }, { x: value as ImageInput }, false).then(
      () => "taken",
      String,
    );
  };
  const [src, picture] = ["/a.png", "HTMLImageElement"];
  for (const [kind, fields, words] of [
    [picture, { src, complete: false, naturalWidth: 0 }, "the img is not loaded yet: `await img.decode()` first"],
    [picture, { src, complete: true, naturalWidth: 0 }, "the img's picture did not load (/a.png)"],
    [
      picture,
      { src: "https://ann:secret@host/a.png", complete: true, naturalWidth: 0 },
      "the img's picture did not load (https://host/a.png)",
    ],
    [picture, { src: "", complete: true, naturalWidth: 0 }, "the img has no src"],
    [picture, { src, complete: true, naturalWidth: 9 }, "this browser can't decode it as an image"],
    ["HTMLVideoElement", { readyState: 1 }, "the video has no frame yet: wait for its `loadeddata` event"],
    ["HTMLVideoElement", { readyState: 2 }, "this browser can't decode it as an image"],
    ["HTMLCanvasElement", { width: 0, height: 150 }, "the canvas has no pixels (0 × 150)"],
    ["ImageBitmap", { width: 0, height: 0 }, "the ImageBitmap is closed"],
    ["Response", {}, "expected an image, got Response; pass its body: `await response.blob()`"],
    ["FileList", {}, "expected an image, got FileList; pass a File: `files[0]`, which an empty list does not have"],
    ["HTMLDivElement", {}, "expected an image (Blob, ImageData, img, canvas, video and the like), got HTMLDivElement"],
    [
      "",
      { width: 1, pixels: 2 },
      "expected an image (Blob, ImageData, img, canvas, video and the like), got { width, pixels }",
    ],
    ["", [1], "expected an image, got Array; pass one image: call `run` for each, the engine batches them"],
  ] as const)
    expect(await fail(kind, fields)).toBe(`TypeError: input "x": ${words}`);
});

test("a change of the data after the call does not reach the request", async () => {
  const data = new Float32Array(24).fill(1);
  const taken = await takeInputs(effects, accepts, { ...good, x: { ...good.x, data } }, false);
  data.fill(2);
  expect(taken.tensors["x"]).toMatchObject({ data: new Float32Array(24).fill(1) });
});

test("with transfer the buffer is moved, not copied, and detached for the caller", async () => {
  const data = new Float32Array(24).fill(3);
  const taken = await takeInputs(effects, accepts, { ...good, x: { ...good.x, data } }, true);
  expect(data.byteLength).toBe(0);
  expect(taken.tensors["x"]).toMatchObject({ data: new Float32Array(24).fill(3) });
});

test("one buffer behind two inputs is copied even with transfer", async () => {
  const port = (name: string): Port => ({ name, dtype: "float32", dims: [2], batchAxis: null });
  const data = new Float32Array([1, 2]);
  const tensor = { dtype: "float32", dims: [2], data } as const;
  const taken = await takeInputs(effects, { ports: [port("a"), port("b")] }, { a: tensor, b: tensor }, true);
  expect(taken.tensors["a"]).toMatchObject({ data: new Float32Array([1, 2]) });
  expect(taken.tensors["b"]).toMatchObject({ data: new Float32Array([1, 2]) });
});

test("a wrong second input moves no buffer of the first", async () => {
  const data = new Float32Array(24);
  const inputs = { x: { ...good.x, data }, mask: { ...good.mask, dtype: "int32" } } as unknown as Inputs;
  await expect(takeInputs(effects, accepts, inputs, true)).rejects.toThrow(TypeError);
  expect(data.byteLength).toBe(96);
});

test("every dtype passes with dims that fit and fails with one element less", async () => {
  const numeric = Object.keys(ARRAY_TYPES) as NumericDtype[];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...numeric),
      fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 4 }),
      async (dtype, dims) => {
        const count = dims.reduce((a, b) => a * b, 1);
        const port: Port = { name: "x", dtype, dims: dims.map((_, i) => `d${i}`), batchAxis: null };
        const tensor = (n: number) => ({ dtype, dims, data: zeros(dtype, n) }) as Tensor;
        const taken = await takeInputs(effects, { ports: [port] }, { x: tensor(count) }, false);
        expect(taken.tensors["x"]).toMatchObject({ dtype, dims });
        await expect(takeInputs(effects, { ports: [port] }, { x: tensor(count - 1) }, false)).rejects.toThrow(
          count === 1 ? /detached|need 1/ : RangeError,
        );
      },
    ),
  );
});

test("invalid inputs are rejected: either the feeds match the ports exactly, or an error names the input", async () => {
  const value = fc.oneof(
    fc.anything(),
    fc.record({
      dtype: fc.oneof(fc.constantFrom("float32", "int64", "string"), fc.anything()),
      dims: fc.oneof(fc.array(fc.oneof(fc.integer({ min: -1, max: 4 }), fc.double()), { maxLength: 4 }), fc.anything()),
      data: fc.oneof(
        fc.integer({ min: 0, max: 30 }).map((n) => new Float32Array(n)),
        fc.integer({ min: 0, max: 30 }).map((n) => new BigInt64Array(n)),
        fc.anything(),
      ),
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.constantFrom("x", "mask", "y"), value), async (inputs) => {
      try {
        const feeds = await takeInputs(effects, accepts, inputs as Inputs, false);
        expect(Object.keys(feeds.tensors)).toEqual(["x", "mask"]);
      } catch (error) {
        expect(error instanceof TypeError || error instanceof RangeError).toBe(true);
        expect((error as Error).message).toMatch(/input/);
      }
    }),
    { numRuns: 500 },
  );
});

test("a text fills the inputs of its tokens and their masks; several are a batch", async () => {
  const ids: BundleInput = {
    name: "ids",
    dtype: "int64",
    dims: ["batch", "length"],
    batchAxis: 0,
    text: { tokenizer: "tokenizer.json", maxLength: 8, mask: "mask" },
  };
  const reads = { ports: [ids, { ...ids, name: "mask", text: undefined }] };
  const take = (inputs: unknown): Promise<unknown> => takeInputs(effects, reads, inputs as Inputs, false);
  expect(await take({ ids: "a" })).toEqual({ tensors: {}, others: { ids: { kind: "text", texts: ["a"] } } });
  expect(await take({ ids: ["a", ""] })).toEqual({ tensors: {}, others: { ids: { kind: "text", texts: ["a", ""] } } });
  const tensor = { dtype: "int64", dims: [1, 1], data: BigInt64Array.of(1n) };
  expect(await take({ ids: tensor, mask: tensor })).toMatchObject({ tensors: { mask: tensor } });
  await expect(take({ ids: "a", mask: tensor })).rejects.toThrow('input "mask": the text in "ids" fills it');
  await expect(take({ ids: tensor })).rejects.toThrow('"mask" is missing');
  await expect(take({ ids: [] })).rejects.toThrow('input "ids": expected one text or more');
  await expect(take({ ids: ["a", 1] })).rejects.toThrow('input "ids": expected one text or more');
  await expect(take({ ids: 1, mask: tensor })).rejects.toThrow("or a text, got 1");
  await expect(takeInputs(effects, { ports: [{ ...ids, text: undefined }] }, { ids: "a" }, false)).rejects.toThrow(
    'expected { dtype, dims, data } or its BigInt64Array, got "a"',
  );
});

const picture = { resize: { mode: "exact", width: 4, height: 4 }, channels: "rgb", layout: "nchw" } as const;
const pictures = (...names: string[]) => ({
  ports: names.map((name): BundleInput => ({
    name,
    dtype: "float32",
    dims: [1, 3, 4, 4],
    batchAxis: 0,
    image: picture,
  })),
});
/** A bitmap that records when it is closed. */
const bitmap = (closed: unknown[], name: unknown): ImageBitmap => ({
  width: 1,
  height: 1,
  close: () => closed.push(name),
});

test("a picture fills the pixel mask beside it; a tensor does not, and the caller's own mask is kept", async () => {
  const side: Port = { name: "pixel_mask", dtype: "int64", dims: [1, "h", "w"], batchAxis: null };
  const shown: Port = { name: "pixel_values", dtype: "float32", dims: [1, 3, "h", "w"], batchAxis: null };
  const image = { resize: { mode: "exact", width: 1, height: 1 }, channels: "rgb", layout: "nchw" } as const;
  const both = { ports: [{ ...shown, image: { ...image, mask: "pixel_mask" } }, side] };
  const pixel = { width: 1, height: 1, data: new Uint8ClampedArray(4) } as ImageData;
  const taken = await takeInputs(effects, both, { pixel_values: pixel }, false);
  expect(Object.keys(taken.others ?? {})).toEqual(["pixel_values"]);
  expect(taken.tensors).toEqual({});
  const tensor = { dtype: "float32", dims: [1, 3, 1, 1], data: new Float32Array(3) } as const;
  await expect(takeInputs(effects, both, { pixel_values: tensor }, false)).rejects.toThrow('"pixel_mask" is missing');
  const own = { dtype: "int64", dims: [1, 1, 1], data: new BigInt64Array(1) } as const;
  const kept = await takeInputs(effects, both, { pixel_values: pixel, pixel_mask: own }, false);
  expect(kept.tensors).toEqual({ pixel_mask: own });
});

const heard: BundleInput = {
  name: "input_features",
  dtype: "float32",
  dims: ["batch", 80, 3000],
  batchAxis: 0,
  sound: { op: "log-mel", sampleRate: 16_000, bands: 80, seconds: 30 },
};

test("the mask beside a sound is filled, unless the caller brings it", async () => {
  const wave: BundleInput = {
    ...{ name: "input_values", dtype: "float32", dims: ["batch", "length"], batchAxis: 0 },
    sound: { op: "samples", sampleRate: 16_000, mask: "attention_mask" },
  };
  const mask: BundleInput = { name: "attention_mask", dtype: "int64", dims: ["batch", "length"], batchAxis: 0 };
  const accepts = { ports: [wave, mask] };
  const samples = Float32Array.of(0, 0.5, -0.5);
  const filled = await takeInputs(effects, accepts, { input_values: samples }, false);
  expect([filled.tensors, filled.others]).toEqual([{}, { input_values: { kind: "sound", samples } }]);
  const own = { dtype: "int64", dims: [1, 3], data: new BigInt64Array(3) } as const;
  const kept = await takeInputs(effects, accepts, { input_values: samples, attention_mask: own }, false);
  expect(kept.tensors).toEqual({ attention_mask: own });
});

test("samples of a sound are copied, alone or with their rate", async () => {
  const samples = Float32Array.of(0, 0.5, -0.5);
  for (const given of [samples, { samples }, { samples, sampleRate: 16_000 }]) {
    const { tensors, others } = await takeInputs(effects, { ports: [heard] }, { input_features: given }, false);
    expect(tensors).toEqual({});
    expect(others).toEqual({ input_features: { kind: "sound", samples } });
    expect(Reflect.get(others?.["input_features"] ?? {}, "samples")).not.toBe(samples);
  }
  const tensor = { dtype: "float32", dims: [1, 80, 3000], data: new Float32Array(240_000) } as const;
  const kept = await takeInputs(effects, { ports: [heard] }, { input_features: tensor }, false);
  expect(kept.others).toBe(null);
  await expect(takeInputs(effects, { ports: [heard] }, {}, false)).rejects.toThrow("is missing");
});

test.each<[string, unknown, string]>([
  [
    "another rate",
    { samples: new Float32Array(1), sampleRate: 44_100 },
    "Float32Array of mono samples at 16000 Hz, got Float32Array at 44100 Hz",
  ],
  ["samples of another type", new Int16Array(3), "Float32Array of mono samples at 16000 Hz, got Int16Array"],
  ["a file", new Blob([]), "Float32Array of mono samples at 16000 Hz, got Blob"],
])("%s is refused with the rate of the model", async (_, value, text) => {
  const taken = takeInputs(effects, { ports: [heard] }, { input_features: value } as Inputs, false);
  await expect(taken).rejects.toThrow(text);
});

test("a picture for an input that is not converted is refused with the file and the setting", async () => {
  const unsupported = 'preprocessor_config.json: "resample" of NewestImageProcessor is not supported';
  const port: BundleInput = {
    name: "pixel_values",
    dtype: "float32",
    dims: ["b", 3, "h", "w"],
    batchAxis: 0,
    unsupported,
  };
  const taken = takeInputs(effects, { ports: [port] }, { pixel_values: new Blob([]) }, false);
  await expect(taken).rejects.toThrow(`input "pixel_values": expected a tensor (${unsupported}), got Blob`);
});

test("images are all taken in the turn of the call (processing-M1)", async () => {
  const asked: unknown[] = [];
  const canvas = { width: 1, height: 1 } as ImageInput;
  const data = new Uint8ClampedArray(4).fill(10);
  const createImageBitmap = async (source: ImageBitmapSource): Promise<ImageBitmap> => {
    asked.push(source);
    await Promise.resolve();
    return bitmap([], "");
  };
  const inputs = { a: canvas, b: canvas, c: { width: 1, height: 1, data, colorSpace: "srgb" } as ImageData };
  const taken = takeAtOnce({ ...effects, createImageBitmap }, pictures("a", "b", "c"), inputs, false);
  expect(asked).toEqual([canvas, canvas]);
  data.fill(212);
  expect((await taken).others?.["c"]).toMatchObject({ image: { data: new Uint8ClampedArray(4).fill(10) } });
});

test("images that came are closed where another can't be decoded (core-C4)", async () => {
  const closed: unknown[] = [];
  const [good, bad] = [{}, { isBad: true }] as ImageInput[];
  const createImageBitmap = (source: ImageBitmapSource): Promise<ImageBitmap> =>
    "isBad" in source ? Promise.reject(new Error("decode")) : Promise.resolve(bitmap(closed, "good"));
  const inputs = { a: good, b: bad, c: good } as Inputs;
  const taken = takeInputs({ ...effects, createImageBitmap }, pictures("a", "b", "c"), inputs, false);
  await expect(taken).rejects.toThrow('input "b"');
  expect(closed).toEqual(["good", "good"]);
});

test.each([
  ["display-p3", { data: new Uint8ClampedArray(4), colorSpace: "display-p3" }, true],
  ["rgba-float16", { data: { [Symbol.toStringTag]: "Float16Array", length: 4 }, colorSpace: "srgb" }, true],
  ["8-bit sRGB", { data: new Uint8ClampedArray(4), colorSpace: "srgb" }, false],
])("ImageData of %s: the browser converts all but 8-bit sRGB (processing-M2)", async (_, kind, isConverted) => {
  const asked: unknown[] = [];
  const converted = bitmap([], "");
  const createImageBitmap = (source: ImageBitmapSource): Promise<ImageBitmap> => {
    asked.push(source);
    return Promise.resolve(converted);
  };
  const source = { width: 1, height: 1, ...kind } as ImageData;
  const taken = await takeInputs({ ...effects, createImageBitmap }, pictures("a"), { a: source }, false);
  expect(asked).toEqual(isConverted ? [source] : []);
  if (isConverted) expect(taken.others?.["a"]).toEqual({ kind: "image", image: converted });
});

test("ImageData is copied: what is drawn over it afterwards does not reach the request (processing-mutant-inputs-3)", async () => {
  const data = new Uint8ClampedArray(4).fill(7);
  const taken = takeInputs(effects, pictures("a"), { a: { width: 1, height: 1, data } as ImageData }, false);
  data.fill(9);
  expect((await taken).others?.["a"]).toEqual({
    kind: "image",
    image: { width: 1, height: 1, data: new Uint8ClampedArray(4).fill(7) },
  });
});

test("an image that can't be decoded leaves the tensor beside it whole, even with transfer (processing-L11)", async () => {
  const broken = { ...effects, createImageBitmap: () => Promise.reject(new Error("decode")) };
  const { ports } = pictures("a");
  const data = new Float32Array(24);
  const inputs = { a: {} as ImageInput, x: { ...good.x, data } };
  await expect(takeInputs(broken, { ports: [...ports, x] }, inputs, true)).rejects.toThrow('input "a"');
  expect(data.byteLength).toBe(96);
});

test("a WebAssembly memory, which can't be moved, is copied (processing-L11)", async () => {
  const { buffer } = new WebAssembly.Memory({ initial: 1 });
  const bytes: Port = { name: "x", dtype: "uint8", dims: ["n"], batchAxis: null };
  const inputs = { x: { dtype: "uint8", dims: [2 ** 16], data: new Uint8Array(buffer).fill(5) } } as const;
  const taken = await takeInputs(effects, { ports: [bytes] }, inputs, true);
  expect(buffer.byteLength).toBe(2 ** 16);
  expect(taken.tensors["x"]).toMatchObject({ data: new Uint8Array(2 ** 16).fill(5) });
});

test("with transfer a view of a part of its buffer gives that part alone (processing-mutant-inputs-2)", async () => {
  const whole = Float32Array.from({ length: 8 }, (_, i) => i);
  const port: Port = { name: "x", dtype: "float32", dims: ["n"], batchAxis: null };
  for (const [from, to] of [
    [0, 3],
    [2, 5],
    [5, 8],
  ] as const) {
    const inputs = { x: { dtype: "float32", dims: [3], data: whole.subarray(from, to) } } as const;
    const taken = await takeInputs(effects, { ports: [port] }, inputs, true);
    expect(taken.tensors["x"]).toMatchObject({ data: whole.slice(from, to) });
    expect(whole.byteLength).toBe(32);
  }
});

test("small inputs of any size share a buffer, each from a multiple of eight bytes on (processing-mutant-inputs-1)", () => {
  const slab = new Slab();
  for (const bytes of [1, 3, 7, 8, 9]) {
    slab.copy(new Uint8Array(bytes));
    const floats = takeTensor({ dtype: "float64", dims: [2], data: Float64Array.of(bytes, 2) }, false, slab);
    expect(floats.data).toEqual(Float64Array.of(bytes, 2));
    expect((floats.data as Float64Array).byteOffset % 8).toBe(0);
  }
});

test("sizes of symbolic dims that are known before count as those of an input", async () => {
  const symbols = new Map([["batch", { size: 1, input: "state" }]]);
  await expect(takeInputs(effects, { ...accepts, symbols }, good, false)).rejects.toThrow(
    'input "x": "batch" is 2, but 1 in input "state"',
  );
  expect(symbols.size).toBe(1);
});
