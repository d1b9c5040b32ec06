// Schema 2, its conversion to memory and back, and extensions by newer releases.
import fc from "fast-check";
import { expect, test } from "vitest";
import { BUNDLE_MAX_BYTES } from "./bundle.ts";
import { bundleJson } from "./bundle-json.ts";
import { parseBundle } from "./bundle-schema.ts";
import { isSelvedgeError } from "./errors.ts";
import type { SelvedgeError } from "./errors.ts";

const chunk = { sha256: "a".repeat(64), bytes: 100, encoding: "br", wireBytes: 60 };
const file = { path: "model.onnx", bytes: 100, chunks: [chunk] };
const other = { sha256: "b".repeat(64), bytes: 10 };
const asset = { path: "labels.txt", bytes: 10, chunks: [other] };
const port = { dtype: "float32", dims: ["batch", 5], batchAxis: 0 };
const variant = { id: "f32", needs: [] as string[], files: [file], wireBytes: 60 };
const valid = {
  schema: "selvedge/bundle@2",
  model: {
    name: "m",
    version: "1.0.0",
    licence: "MIT",
    inputs: [{ ...port, name: "x" }],
    outputs: [{ ...port, name: "y" }],
    exampleDims: { batch: 1 },
  },
  variants: [variant],
  assets: [asset],
};
const image = { resize: { mode: "exact", width: 8, height: 8 }, channels: "rgb", layout: "nchw" };
const withOutput = (postprocess: unknown): unknown => ({
  ...valid,
  model: { ...valid.model, outputs: [{ ...port, name: "y", postprocess }] },
});
const withInput = (change: object): unknown => ({
  ...valid,
  model: { ...valid.model, inputs: [{ ...port, name: "x", dims: ["batch", 3, 8, 8], ...change }] },
});
const withVariant = (change: object): unknown => ({ ...valid, variants: [{ ...variant, ...change }] });
const withChunk = (change: object, wireBytes?: number): unknown =>
  withVariant({ files: [{ ...file, chunks: [{ ...chunk, ...change }] }], wireBytes });

function refusedWith(json: unknown): SelvedgeError | null {
  try {
    parseBundle(json);
    return null;
  } catch (error) {
    if (isSelvedgeError(error) && error.code === "bundle-invalid") return error;
    throw error;
  }
}

function refusal(json: unknown): string | null {
  return refusedWith(json)?.message ?? null;
}

test("a bundle in memory becomes the JSON that it was read from", () => {
  const full = {
    ...valid,
    model: {
      ...valid.model,
      inputs: [{ ...port, name: "x", dims: ["batch", 3, 8, 8], preprocess: [{ step: "image", ...image }] }],
      outputs: [
        { ...port, name: "y", postprocess: [{ step: "softmax" }, { step: "labels", asset: "labels.txt", top: 3 }] },
        { ...port, name: "z", postprocess: [{ step: "ctc", asset: "labels.txt" }] },
      ],
    },
    variants: [
      {
        ...variant,
        session: { wasm: { "session.disable_quant_qdq": "1" } },
        memoryBytes: { wasm: 1_000 },
        activationBytes: { wasm: 2_000, webgpu: 3_000 },
        score: { name: "top1", n: 100, value: 0.9, low: 0.8, high: 0.95, reference: { value: 0.91 } },
        golden: {
          inputs: { path: "golden-inputs.safetensors", bytes: 10, chunks: [other] },
          outputs: { path: "golden-outputs.safetensors", bytes: 10, chunks: [other] },
        },
      },
    ],
  };
  const { format, ...bundle } = parseBundle(full);
  expect(format).toBe(2);
  expect(bundle.model.outputs[0]?.decode).toEqual({ op: "labels", asset: "labels.txt", top: 3, logits: true });
  expect(bundle.model.inputs[0]?.image).toEqual(image);
  expect(bundleJson(bundle)).toEqual(full);
});

test("a bundle of schema 1 is the same in memory as its schema 2 form, but for the format", () => {
  const { exampleDims, ...model } = valid.model;
  const old = {
    schema: "selvedge/bundle@1",
    model: {
      ...model,
      inputs: [{ ...port, name: "x", dims: ["batch", 3, 8, 8], image }],
      outputs: [{ ...port, name: "y", decode: { op: "labels", asset: "labels.txt", logits: true } }],
      typical: exampleDims,
    },
    variants: [
      {
        id: "f32",
        needs: [],
        files: [{ ...file, chunks: [{ sha256: chunk.sha256, bytes: 100 }] }],
        metric: { name: "top1", value: 0.9, reference: 0.91, n: 100 },
      },
    ],
    assets: [asset],
  };
  const first = parseBundle(old);
  expect(first.variants[0]?.score).toEqual({ name: "top1", n: 100, value: 0.9, reference: { value: 0.91 } });
  expect({ ...parseBundle(bundleJson(first)), format: 1 }).toEqual(first);
});

test("fields that this release does not know are ignored, wherever they occur", () => {
  const fresh = {
    ["later"]: { deeply: [1, { nested: true }] },
    image: "x",
    decode: 7,
    format: 9,
    unknown: { at: "x" },
  };
  const extend = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(extend);
    if (typeof value !== "object" || value === null) return value;
    return {
      ...fresh,
      ...Object.fromEntries(Object.entries(value).map(([k, x]) => [k, k === "exampleDims" ? x : extend(x)])),
    };
  };
  expect(parseBundle(extend(valid))).toEqual(parseBundle(valid));
});

test("a step that this release does not know, or can't run at its place, is reported and fails nothing", () => {
  const unknownOf = (json: unknown) => parseBundle(json).unknown;
  expect(unknownOf(withOutput([{ step: "boxes", classes: 80 }]))).toEqual({ at: "y", kind: "step", word: "boxes" });
  expect(unknownOf(withOutput([{ step: "softmax" }, { step: "boxes" }]))).toMatchObject({ word: "boxes" });
  expect(unknownOf(withOutput([{ step: "argmax" }, { step: "softmax" }]))).toMatchObject({ word: "softmax" });
  expect(unknownOf(withInput({ preprocess: [{ step: "audio", rate: 16_000 }] }))).toMatchObject({
    at: "x",
    word: "audio",
  });
  expect(unknownOf(withInput({ preprocess: [{ step: "constructor" }] }))).toMatchObject({ word: "constructor" });
  expect(unknownOf(withOutput([{ step: "softmax", later: 1 }]))).toBeUndefined();
  expect(refusal(withOutput([{ step: "ctc" }]))).toContain("asset");
  expect(refusal(withOutput([{ step: "labels", asset: "other.txt" }]))).toContain("other.txt");
});

test("a chunk encoding that this release does not know keeps its variant from this device, an asset's the model", () => {
  expect(parseBundle(withChunk({ encoding: "zstd" })).variants[0]?.needs).toEqual(["encoding:zstd"]);
  expect(parseBundle(valid).variants[0]?.needs).toEqual([]);
  const assets = [{ ...asset, chunks: [{ ...other, encoding: "zstd", wireBytes: 5 }] }];
  expect(parseBundle({ ...valid, assets }).unknown).toEqual({ at: "labels.txt", kind: "encoding", word: "zstd" });
});

test("a chunk encoding that this release does not know may have any size on the wire, or none stated (tool-open-encoding)", () => {
  const newer = { ...variant, id: "new", wireBytes: 7 };
  const sha256 = "c".repeat(64);
  for (const wireBytes of [undefined, 1, 100, 4_000]) {
    const chunks = [{ sha256, bytes: 100, encoding: "zstd:19", wireBytes }];
    const json = { ...valid, variants: [{ ...newer, files: [{ ...file, chunks }] }, variant] };
    expect(parseBundle(json).variants.map((x) => x.needs)).toEqual([["encoding:zstd:19"], []]);
    expect(
      refusal({ ...valid, assets: [{ ...asset, chunks: [{ ...other, encoding: "zstd", wireBytes }] }] }),
    ).toBeNull();
  }
  // 1 GB out of a few bytes is refused where this release would expand it, and accepted where it never does.
  const bomb = (encoding: string) => ({
    ...newer,
    wireBytes: undefined,
    files: [
      {
        ...file,
        bytes: 256 * 2 ** 22,
        chunks: Array.from({ length: 256 }, (_, i) => ({
          sha256: i.toString(16).padStart(64, "0"),
          bytes: 2 ** 22,
          encoding,
          wireBytes: 20,
        })),
      },
    ],
  });
  expect(refusal({ ...valid, variants: [bomb("zstd"), variant] })).toBeNull();
  expect(refusal({ ...valid, variants: [bomb("br"), variant] })).toContain("on the wire");
});

test("a backend that this release does not know is ignored in unchecked (tool-open-unchecked)", () => {
  const uncheckedOf = (unchecked: unknown) => parseBundle(withVariant({ unchecked })).variants[0]?.unchecked;
  expect(uncheckedOf(["webnn"])).toBeUndefined();
  expect(uncheckedOf(["webnn", "webgpu", "webNN-2"])).toEqual(["webgpu"]);
  expect(uncheckedOf(["wasm", "webgpu"])).toEqual(["wasm", "webgpu"]);
  expect(refusal(withVariant({ unchecked: ["<b>"] }))).toContain("unchecked");
  expect(refusal(withVariant({ unchecked: "webgpu" }))).toContain("unchecked");
});

test("a step image with a word that this release does not know can't be run (tool-open-image)", () => {
  const unknownOf = (change: object) => {
    const { unknown, model } = parseBundle(withInput({ preprocess: [{ step: "image", ...image, ...change }] }));
    expect(model.inputs[0]?.image === undefined, "nothing of it is run").toBe(unknown !== undefined);
    return unknown;
  };
  const at = { at: "x", kind: "step" };
  expect(unknownOf({})).toBeUndefined();
  expect(unknownOf({ resize: { mode: "letterbox", edge: 9 } })).toEqual({ ...at, word: "image.resize.mode=letterbox" });
  expect(unknownOf({ channels: "rgba" })).toEqual({ ...at, word: "image.channels=rgba" });
  expect(unknownOf({ layout: "nc4hw", scale: "auto" })).toEqual({ ...at, word: "image.layout=nc4hw" });
  expect(unknownOf({ resize: { mode: "rgb" } }), "a word of another field").toMatchObject({ kind: "step" });
  expect(unknownOf({ resize: { mode: "constructor" } })).toMatchObject({ kind: "step" });
  const wrong = [{ resize: { mode: 7 } }, { resize: { mode: "<b>" } }, { resize: "fit" }, { resize: { mode: "fit" } }];
  for (const change of [...wrong, { channels: "" }, { resize: { mode: "letterbox" }, layout: null }])
    expect(refusal(withInput({ preprocess: [{ step: "image", ...image, ...change }] }))).not.toBeNull();
});

test("a centre crop is read as it is, and refused where it is larger than what it is cropped from", () => {
  const withResize = (shortSide: number): unknown => {
    const resize = { mode: "crop", width: 8, height: 6, shortSide };
    return withInput({ preprocess: [{ step: "image", ...image, resize }] });
  };
  expect(parseBundle(withResize(8)).model.inputs[0]?.image?.resize).toEqual({
    mode: "crop",
    width: 8,
    height: 6,
    shortSide: 8,
  });
  expect(() => parseBundle(withResize(7))).toThrow("x.image.resize.shortSide is 7, less than 8 × 6");
});

test("an element type that this release does not know keeps the model from this device (tool-open-dtype)", () => {
  const unknown = { at: "x", kind: "dtype", word: "bfloat16" };
  expect(parseBundle(withInput({ dtype: "bfloat16" })).unknown).toEqual(unknown);
  expect(
    parseBundle(withInput({ dtype: "bfloat16", preprocess: [{ step: "image", ...image }] })).unknown,
    "what is checked of known types is no fault",
  ).toEqual(unknown);
  const outputs = [{ ...port, name: "y", dtype: "float8e4m3fn" }];
  expect(parseBundle({ ...valid, model: { ...valid.model, outputs } }).unknown).toMatchObject({
    at: "y",
    kind: "dtype",
  });
  for (const dtype of ["", "float 32", 7, null, "<b>"]) expect(refusal(withInput({ dtype }))).toContain("dtype");
});

test("a spectrogram is read and written back, and refused where the input has other bands, frames or type", () => {
  const sound = { sampleRate: 16_000, bands: 80, fftLength: 400, hopLength: 160, seconds: 30 };
  const withSound = (change: object, portChange: object = {}): unknown =>
    withInput({ dims: ["batch", 80, 3000], preprocess: [{ step: "log-mel", ...sound, ...change }], ...portChange });
  const bundle = parseBundle(withSound({}));
  expect(bundle.model.inputs[0]?.sound).toEqual({ op: "log-mel", ...sound });
  expect(bundleJson(bundle).model).toMatchObject({ inputs: [{ preprocess: [{ step: "log-mel", ...sound }] }] });
  expect(refusal(withSound({ seconds: undefined, fftLength: undefined, hopLength: undefined }))).toBe(null);
  for (const change of [{ bands: 128 }, { seconds: 2 }, { hopLength: 100 }, { sampleRate: 0 }, { seconds: -1 }])
    expect(refusal(withSound(change)), JSON.stringify(change)).not.toBe(null);
  expect(refusal(withSound({}, { dtype: "int32" }))).toContain("float32 or float16");
  expect(refusal(withSound({}, { dims: ["batch", 80] }))).toContain("[1, 80, 3000]");
});

test.each([
  [{ step: "samples", sampleRate: 16_000, normalize: true }, ["batch", "length"], { sampleRate: 0 }],
  [
    { step: "fbank", sampleRate: 16_000, bands: 128, frames: 1_024, mean: -4, std: 9 },
    ["batch", 1_024, 128],
    { std: 0 },
  ],
])("a sound of %j is read and written back, and refused where the input has other dims", (step, dims, wrong) => {
  const { step: op, ...rest } = step;
  const bundle = parseBundle(withInput({ dims, preprocess: [step] }));
  expect(bundle.model.inputs[0]?.sound).toEqual({ op, ...rest });
  expect(bundleJson(bundle).model).toMatchObject({ inputs: [{ preprocess: [step] }] });
  expect(refusal(withInput({ dims, preprocess: [{ ...step, ...wrong }] }))).not.toBe(null);
  expect(refusal(withInput({ dims: ["batch", 80, 3_000], preprocess: [step] }))).toContain(`the step ${op} makes`);
});

test("a filter bank is of at least 1000 samples a second: below, its frames hold too few", () => {
  const withRate = (sampleRate: number): unknown =>
    withInput({ dims: ["batch", 9, 4], preprocess: [{ step: "fbank", sampleRate, bands: 4, frames: 9 }] });
  expect(refusal(withRate(1_000))).toBeNull();
  for (const rate of [1, 79, 999]) expect(refusal(withRate(rate)), `${rate}`).toContain("sampleRate");
});

test("the mask of samples is another input, of two axes and a type that a 1 can be written to", () => {
  const withMask = (mask: object, named = "m"): unknown => {
    const step = { step: "samples", sampleRate: 16_000, mask: named };
    const row = { ...port, dims: ["batch", "length"] };
    const inputs = [
      { ...row, name: "x", preprocess: [step] },
      { ...row, name: "m", ...mask },
    ];
    return { ...valid, model: { ...valid.model, inputs } };
  };
  for (const dtype of ["int64", "int32", "uint8", "bool", "float32"])
    expect(refusal(withMask({ dtype })), dtype).toBeNull();
  for (const dtype of ["float16", "uint64", "string"])
    expect(refusal(withMask({ dtype })), dtype).toContain("m: a mask of samples is [batch, length] of int64");
  expect(refusal(withMask({ dims: ["batch", 1, "length"] }))).toContain("m: a mask of samples is [batch, length]");
  for (const name of ["x", "other"]) expect(refusal(withMask({}, name))).toContain("x.sound.mask names no other input");
  expect(parseBundle(withMask({ dtype: "bfloat16" })).unknown).toEqual({ at: "m", kind: "dtype", word: "bfloat16" });
});

test("words of newer releases may have capital letters (tool-open-words)", () => {
  expect(parseBundle(withInput({ preprocess: [{ step: "logMel", bins: 80 }] })).unknown).toEqual({
    at: "x",
    kind: "step",
    word: "logMel",
  });
  expect(parseBundle(withOutput([{ step: "Softmax" }])).unknown).toMatchObject({ word: "Softmax" });
  expect(parseBundle(withChunk({ encoding: "Zstd" })).variants[0]?.needs).toEqual(["encoding:Zstd"]);
  for (const step of ["", " ", "a b", "<b>", "\u001b[2J", "a".repeat(65)])
    expect(refusal(withOutput([{ step }])), step).toContain("step");
});

test("session entries: known ones pass, unknown ones of ONNX Runtime keep the variant away, files are refused (store-C9)", () => {
  const needsOf = (entry: string) =>
    parseBundle(withVariant({ session: { wasm: { [entry]: "1" } } })).variants[0]?.needs;
  expect(needsOf("session.disable_quant_qdq")).toEqual([]);
  expect(needsOf("session.later_switch")).toEqual(["session:session.later_switch"]);
  // "format" is a part of another word.
  expect(needsOf("session.debug_layout_transformation")).toEqual(["session:session.debug_layout_transformation"]);
  for (const entry of [
    "session.load_model_format",
    "session.save_model_format",
    "session.optimized_model_external_initializers_file_name",
    "session.model_external_initializers_file_folder_path",
    "ep.context_file_path",
    "ep.context_enable",
    "session.collect_node_memory_stats_to_file",
  ])
    expect(refusal(withVariant({ session: { webgpu: { [entry]: "x" } } })), entry).not.toBeNull();
});

test.each(["custom_op_library", "device.x", "execution_mode", "sessionx.log", "session"])(
  "the session entry %s, of no namespace that a bundle may set, keeps the variant away (schema-session)",
  (entry) => {
    const { variants } = parseBundle(withVariant({ session: { wasm: { [entry]: "1" } } }));
    expect(variants[0]?.needs).toEqual([`session:${entry}`]);
  },
);

test("a session entry is refused for a word of a file or a format, not for a part of a word (schema-session)", () => {
  const isRefused = (entry: string) => refusal(withVariant({ session: { wasm: { [entry]: "1" } } })) !== null;
  for (const entry of ["session.debug_layout_transformation", "session.profiled", "ep.pathology"])
    expect(isRefused(entry), entry).toBe(false);
  for (const word of ["path", "file", "folder", "format", "context"])
    for (const entry of [word, `session.${word}`, `session.${word}.x`, `session.a_${word}`, `session.${word}_a`])
      expect(isRefused(entry), entry).toBe(true);
});

test("an error quotes at most a hundred characters of a value, and bounds its place (schema-long)", () => {
  const long = "A".repeat(100_000);
  const dollar = `$&${"$'".repeat(200)}`;
  for (const json of [
    long,
    { ...valid, schema: long },
    { ...valid, variants: long },
    { ...valid, schema: dollar },
    withInput({ dims: long }),
    withInput({ batchAxis: long }),
    withVariant({ session: { wasm: { [long]: "1" } } }),
    { ...valid, model: { ...valid.model, exampleDims: { [long]: long } } },
  ]) {
    const error = refusedWith(json);
    expect(error?.message.length).toBeLessThan(600);
    expect(JSON.stringify(error?.details).length).toBeLessThan(400);
  }
  expect(refusal({ ...valid, schema: `${"B".repeat(99)}C` })).toContain(`"${"B".repeat(99)}…`);
});

test.each(["__proto__", "constructor", "prototype", "toString", "valueOf"])(
  "a port or a dim called %s is refused (store-C21, processing-L7)",
  (name) => {
    expect(refusal(withInput({ name }))).not.toBeNull();
    expect(refusal(withInput({ dims: ["batch", 3, 8, name] }))).not.toBeNull();
    expect(refusal({ ...valid, model: { ...valid.model, outputs: [{ ...port, name }] } })).not.toBeNull();
    expect(refusal(withInput({ name: `${name}s` }))).toBeNull();
  },
);

test.each<[string, unknown]>([
  ["an encoding without its size", withChunk({ wireBytes: undefined })],
  ["a plain chunk of another size on the wire", withChunk({ encoding: undefined })],
  ["more bytes on the wire than in the chunk", withChunk({ wireBytes: 101 })],
  ["another size on the wire than its chunks have", withVariant({ wireBytes: 61 })],
  [
    "one hash in two encodings",
    { ...valid, assets: [{ ...asset, bytes: 100, chunks: [{ sha256: chunk.sha256, bytes: 100 }] }] },
  ],
  [
    "a golden answer that its chunks do not fill",
    withVariant({ golden: { inputs: { ...asset, bytes: 11 }, outputs: asset } }),
  ],
])("%s is refused", (_, json) => {
  expect(refusal(json)).not.toBeNull();
});

test("chunks that expand to implausibly many bytes are refused", () => {
  const chunks = Array.from({ length: 1_000 }, (_, i) => ({
    sha256: i.toString(16).padStart(64, "0"),
    bytes: 2 ** 22,
    encoding: "br",
    wireBytes: 20,
  }));
  expect(
    refusal(withVariant({ files: [{ ...file, bytes: 1_000 * 2 ** 22, chunks }], wireBytes: undefined })),
  ).toContain("on the wire");
});

test("half a megabyte of wrong chunks costs little memory and time (store-A5)", () => {
  const count = (512 * 1024) / 3;
  const text = JSON.stringify(withVariant({ files: [] })).replace(
    '"files":[]',
    `"files":[{"path":"m","bytes":1,"chunks":[${Array(Math.floor(count)).fill("{}").join(",")}]}]`,
  );
  expect(text.length).toBeLessThan(BUNDLE_MAX_BYTES);
  const json: unknown = JSON.parse(text);
  const before = process.memoryUsage().heapUsed;
  expect(refusal(json)).toContain("sha256");
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(30e6);
});

test("JSON that is nested too deep, or holds too many values, is refused without recursion (store-A5)", () => {
  const deep: unknown = JSON.parse(`${"[".repeat(100_000)}${"]".repeat(100_000)}`);
  expect(refusal({ ...valid, later: deep })).toContain("nested");
  const many = Array(BUNDLE_MAX_BYTES / 2).fill(0);
  expect(refusal({ ...valid, later: many })).toContain("more than");
});

test("any list of words as steps is read, and unknown is set exactly where it can't be run", () => {
  const step = fc.constantFrom("softmax", "argmax", "boxes", "later");
  const runnable = new Set(["", "softmax", "argmax"]);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 4 }), (words) => {
      const { unknown } = parseBundle(withOutput(words.map((x) => ({ step: x }))));
      expect(unknown === undefined).toBe(runnable.has(words.join(",")));
    }),
  );
});

test("every word of a step that a newer release may add to is reported, and nothing beside it is read", () => {
  const wordOf = (json: unknown): string | undefined => parseBundle(json).unknown?.word;
  const inImage = (change: object): string | undefined =>
    wordOf(withInput({ preprocess: [{ step: "image", ...change }] }));
  const resample = { mode: "resample", filter: "pil-bilinear" };
  expect(inImage({ resize: { mode: "tiles" } })).toBe("image.resize.mode=tiles");
  expect(inImage({ ...image, resize: { ...resample, to: { area: 5 } } })).toBe("image.resize.to=area");
  expect(inImage({ ...image, resize: { ...resample, to: { long: 512, shorter: 3 } } })).toBe("image.resize.to=shorter");
  expect(inImage({ ...image, resize: { ...resample, crop: { width: 2, height: 2, margin: "up" } } })).toBe(
    "image.resize.crop.margin=up",
  );
  const inOutput = (step: object): string | undefined => wordOf(withOutput([step]));
  expect(inOutput({ step: "pool", mode: "median" })).toBe("pool.mode=median");
  expect(inOutput({ step: "detect", form: "rotated" })).toBe("detect.form=rotated");
  expect(inOutput({ step: "detect", form: "queries", scores: "tanh" })).toBe("detect.scores=tanh");
  expect(inOutput({ step: "tokens", aggregate: "last" })).toBe("tokens.aggregate=last");
  expect(inOutput({ step: "points", form: "vectors" })).toBe("points.form=vectors");
  expect(refusal(withOutput([{ step: "pool", mode: "<b>" }]))).toContain("mode");
  expect(refusal(withOutput([{ step: "pool" }]))).toContain("mode");
});

test("a size with a wrong field is refused, not read as another size", () => {
  const refused = (to: object): string | null =>
    refusal(
      withInput({
        preprocess: [{ step: "image", ...image, resize: { mode: "resample", filter: "pil-bilinear", to } }],
      }),
    );
  expect(refused({ multipleOf: 32 })).toBeNull();
  expect(refused({ short: 0, multipleOf: 32 })).toContain("resize.to");
  expect(refused({ width: 224, multipleOf: 32 })).toContain("resize.to");
});

test("a size after scaling is of one form", () => {
  const resized = (to: object): string | null =>
    refusal(
      withInput({
        preprocess: [{ step: "image", ...image, resize: { mode: "resample", filter: "pil-bilinear", to } }],
      }),
    );
  for (const to of [{ width: 8, height: 8 }, { short: 8, long: 9, multipleOf: 2 }, { long: 8 }, { multipleOf: 8 }])
    expect(resized(to), JSON.stringify(to)).toBe(null);
  const mixed = [
    { width: 8, height: 8, multipleOf: 2 },
    { short: 8, width: 8 },
    { long: 8, multipleOf: 2 },
    { nearWidth: 8, nearHeight: 8, short: 2 },
    { multipleOf: 8, height: 8 },
  ];
  for (const to of mixed) expect(resized(to), JSON.stringify(to)).toContain("resize.to");
});
