// A plan's fields: what the page needs to know of a model, the candidates beside the chosen ones, and servers.
import { describe, expect, test } from "vitest";
import type { Bundle, BundleFile, ImageSpec, Unknown, Variant } from "../core/bundle.ts";
import type { AdapterFacts } from "../core/device.ts";
import { criteriaFor } from "../test-support/cache-fixtures.ts";
import type { LoadCriteria, Plan } from "./messages.ts";
import type { OpenedBundle } from "./opened.ts";
import { plan } from "./plan.ts";

const GPU: AdapterFacts = {
  ...{ vendor: "acme", architecture: "", description: "", software: false, features: [] },
  limits: { maxBufferSize: 2e9, maxStorageBufferBindingSize: 1e9 },
};
const device = (more: object = {}): LoadCriteria["device"] => ({ ...criteriaFor().device, ...more });
const BOTH: Partial<LoadCriteria> = { backends: ["webgpu", "wasm"], device: device({ gpu: GPU }) };

const file = (path: string, bytes = 1_000): BundleFile => ({ path, bytes, chunks: [] });
const variant = (id: string, more: Partial<Variant> = {}): Variant => ({ id, needs: [], files: [file(id)], ...more });
const port = { dtype: "float32", dims: [1], batchAxis: null } as const;
const image: ImageSpec = { resize: { mode: "exact", width: 4, height: 4 }, channels: "rgb", layout: "nchw" };
const decode = { op: "argmax", axis: 1 } as never;

type Made = Omit<Partial<OpenedBundle>, "bundle"> & { readonly bundle?: Partial<Bundle>; readonly model?: object };

function planOf({ bundle, model, ...more }: Made, criteria: Partial<LoadCriteria> = {}): Plan {
  const made: Bundle = {
    format: 2,
    variants: [variant("f32")],
    ...bundle,
    model: { name: "m", version: "1", licence: "MIT", inputs: [], outputs: [], ...model },
  };
  const opened = { identity: "id", data: null, seen: null, refused: null, ...more, bundle: made };
  return plan(opened, criteriaFor(criteria));
}

const ids = (found: Plan["candidates"]): string[] => found.map((x) => `${x.backend}:${x.variant.id}`);

describe("a bundle", () => {
  test("is planned with its own names, identity and declared ports", () => {
    const inputs = [{ ...port, name: "x" }];
    const outputs = [{ ...port, name: "y" }];
    const found = planOf({ model: { name: "n", inputs, outputs, exampleDims: { x: [2] } }, bundle: { format: 1 } });
    expect(found).toMatchObject({ name: "n", format: 1, identity: "id", declared: { inputs, outputs } });
    expect(found).toMatchObject({ typical: { x: [2] }, images: {}, decodes: {}, states: {}, assets: [], remote: null });
    expect([found.texts, found.readers, found.storedAs, found.mustCheck]).toEqual(Array(4).fill(undefined));
    expect([found.data, found.seen, found.refused]).toEqual([null, null, null]);
    expect(planOf({}).typical).toEqual({});
  });

  test("keeps what was found when it was opened", () => {
    const data = new Blob(["x"]);
    const assets = [file("table")];
    const more = { storedAs: "other", texts: { a: "b" }, data, seen: "{}", refused: "why", mustCheck: true };
    expect(planOf({ ...more, bundle: { assets } })).toMatchObject({ ...more, assets });
    expect(planOf({ data }).declared).toBeNull();
  });

  test("lists images by input, and decoding and states by output", () => {
    const inputs = [
      { ...port, name: "x", image },
      { ...port, name: "past" },
    ];
    const outputs = [
      { ...port, name: "y", decode },
      { ...port, name: "present", feeds: "past" },
      { ...port, name: "z" },
    ];
    const { images, decodes, states } = planOf({ model: { inputs, outputs } });
    expect([images, decodes, states]).toEqual([{ x: image }, { y: decode }, { present: "past" }]);
  });
});

describe("a repository", () => {
  const sound = { op: "samples", sampleRate: 16_000 } as const;
  const text = { tokenizer: "tokenizer.json", maxLength: 8 } as const;
  const steps = { texts: { ids: text }, images: { x: image }, decodes: { y: decode }, assets: { "a.txt": "b" } };

  test("has its steps by name, and no declared ports", () => {
    const found = planOf({ model: { steps: { ...steps, sounds: { s: sound }, unsupported: { p: "a mirror" } } } });
    expect(found).toMatchObject({ images: { x: image }, decodes: { y: decode }, texts: { "a.txt": "b" } });
    expect(found.declared).toBeNull();
    expect(found.readers).toEqual({
      ids: { text, sound: undefined, unsupported: undefined },
      s: { text: undefined, sound, unsupported: undefined },
      p: { text: undefined, sound: undefined, unsupported: "a mirror" },
    });
    expect(planOf({ model: { steps }, texts: { own: "1" } }).texts).toEqual({ own: "1" });
  });

  test("without texts, sounds or pictures that are not supported has no readers", () => {
    expect(planOf({ model: { steps: { images: {}, decodes: {}, assets: {} } } }).readers).toEqual({});
  });
});

describe("a need of a newer release", () => {
  test.each<[Unknown, string]>([
    [{ kind: "step", word: "boxes", at: "y" }, 'the processing step "boxes" of "y"'],
    [{ kind: "encoding", word: "zstd", at: "m.onnx" }, 'the chunk encoding "zstd" of "m.onnx"'],
    [{ kind: "dtype", word: "int4", at: "x" }, 'the element type "int4" of "x"'],
  ])("is named: %j", (unknown, what) => {
    expect(() => planOf({ bundle: { unknown } })).toThrow(
      expect.objectContaining({
        code: "no-backend",
        message: `m can't run here: this release does not know ${what}. A newer release of selvedge may know it.`,
        details: { model: "m", [unknown.kind]: unknown.word, at: unknown.at, reason: "newer" },
      }),
    );
  });
});

describe("candidates on the GPU", () => {
  const variants = [
    variant("f16", { speed: { webgpu: 0.5, wasm: 2 } }),
    variant("f32", { speed: { webgpu: 1, wasm: 1 } }),
    variant("int8", { speed: { webgpu: 3, wasm: 3 } }),
  ];

  test("have spares in the order of preference, and each as wasm would load it", () => {
    const found = planOf({ bundle: { variants } }, BOTH);
    expect(ids(found.candidates)).toEqual(["webgpu:f16", "wasm:f32"]);
    expect(ids(found.spares)).toEqual(["webgpu:f32", "webgpu:int8"]);
    const onWasm = Object.entries(found.onWasm).map(([id, x]) => [id, x.backend, x.variant.id, x.fit?.fits]);
    expect(onWasm).toEqual(["f16", "f32", "int8"].map((id) => [id, "wasm", id, "yes"]));
    expect(found.settled).toBeNull();
    expect(planOf({ bundle: { variants } }).onWasm).toEqual({});
    expect(planOf({ bundle: { variants } }).spares).toEqual([]);
  });

  test("are loaded on wasm in the least memory where that is short", () => {
    const small = { ...BOTH, device: device({ gpu: GPU, memoryBytes: 2 ** 30 }) };
    const { onWasm } = planOf({ bundle: { variants } }, small);
    expect(onWasm["f16"]?.variant.session).toEqual({ wasm: { "session.disable_prepacking": "1" } });
    expect(planOf({ bundle: { variants } }, small).candidates[0]?.variant.session).toBeUndefined();
  });

  test("that a page died of are no spares", () => {
    const crashed = [{ backend: "webgpu", variant: variants[1] as Variant }] as const;
    expect(ids(planOf({ bundle: { variants } }, { ...BOTH, crashed }).spares)).toEqual(["webgpu:int8"]);
    const onWasm = [{ backend: "wasm", variant: variants[1] as Variant }] as const;
    expect(ids(planOf({ bundle: { variants } }, { ...BOTH, crashed: onWasm }).spares)).toEqual([
      "webgpu:f32",
      "webgpu:int8",
    ]);
  });

  test("need no measurement where the GPU is a software one", () => {
    const found = planOf({ bundle: { variants } }, { ...BOTH, device: device({ gpu: { ...GPU, software: true } }) });
    expect(found.settled?.backend).toBe("wasm");
  });
});

describe("short memory", () => {
  const of = (id: string, bytes: number, more: Partial<Variant> = {}): Variant =>
    variant(id, { files: [file(id, bytes)], memoryBytes: { wasm: 1.4 * bytes, webgpu: bytes }, ...more });
  const variants = [
    of("large", 400e6),
    of("middle", 200e6, { speed: { wasm: 2 } }),
    of("least", 50e6, { speed: { wasm: 4 } }),
  ];

  test("a smaller variant for a run without memory says why, and keeps the settings of a session", () => {
    const session = { wasm: { "session.x": "1" }, webgpu: { "session.y": "2" } };
    const own = [variants[0] as Variant, of("small", 50e6, { speed: { wasm: 4 }, session })];
    expect(planOf({ bundle: { variants: own } }).smaller).toMatchObject({
      backend: "wasm",
      variant: { id: "small", session: { ...session, wasm: { ...session.wasm, "session.disable_prepacking": "1" } } },
      why: { code: "memory-short", text: "wasm ran out of memory in a run of a larger variant" },
    });
    expect(planOf({ bundle: { variants: own } }, { backends: ["webgpu"], device: device({ gpu: GPU }) }).smaller).toBe(
      null,
    );
  });

  test("after a variant of this load ran out of memory, it and those as large are refused with that reason", () => {
    const full = [{ backend: "wasm", variant: variants[1] as Variant }] as const;
    const found = planOf({ bundle: { variants } }, { full });
    expect(ids(found.candidates)).toEqual(["wasm:least"]);
    expect(found.spared).toEqual({
      code: "memory-short",
      text: "large on wasm: this device ran out of memory when it loaded it, or a smaller variant",
    });
    expect(found.candidates[0]?.variant.session).toEqual({ wasm: { "session.disable_prepacking": "1" } });
    const onGpu = [{ backend: "webgpu", variant: variants[2] as Variant }] as const;
    expect(ids(planOf({ bundle: { variants } }, { full: onGpu }).candidates)).toEqual(["wasm:large"]);
  });

  test("where none fits, the error names the least first, each with its reason, and has its details", () => {
    const full = [{ backend: "wasm", variant: variants[2] as Variant }] as const;
    const why = (id: string): string =>
      `${id} on wasm: this device ran out of memory when it loaded it, or a smaller variant`;
    expect(() => planOf({ bundle: { variants } }, { full })).toThrow(
      expect.objectContaining({
        code: "does-not-fit",
        message: `m does not fit in memory: ${["least", "middle", "large"].map(why).join("; ")}. No variant of it fits: use a smaller model.`,
        details: {
          ...{ model: "m", variant: "least", backend: "wasm", fitting: null, reason: null },
          memoryBytes: 70e6,
        },
      }),
    );
  });

  test("the error of a pinned variant names another one, and how to get it", () => {
    const full = [{ backend: "wasm", variant: variants[1] as Variant }] as const;
    const pins = { backend: "wasm", variant: "middle" } as const;
    expect(() => planOf({ bundle: { variants } }, { full, pins })).toThrow(
      expect.objectContaining({
        message: expect.stringContaining(
          '. The variant "least" would fit on wasm: name it, or leave `variant` and `backend` out.',
        ) as string,
        details: expect.objectContaining({ variant: "middle", fitting: "least" }) as object,
      }),
    );
  });

  test("the least memory is reported where the backend that is used needs it, not where another one does", () => {
    const tight = { budgetBytes: 500e6, copiesBlobs: false, holdsBlobs: false };
    const one = [of("f32", 400e6)];
    const onWasm = planOf({ bundle: { variants: one } }, { memory: tight });
    expect(onWasm.spared?.code).toBe("memory-short");
    expect(onWasm.spared?.text).toMatch(/; loaded without prepacking$/);
    // A measurement decides, so that nothing is said yet.
    expect(planOf({ bundle: { variants: one } }, { ...BOTH, memory: tight }).spared).toBeNull();
  });

  test("after a crash of a variant those as large come after all others, and that one last", () => {
    const crashed = [{ backend: "wasm", variant: variants[1] as Variant }] as const;
    const found = planOf({ bundle: { variants } }, { crashed });
    expect(ids(found.candidates)).toEqual(["wasm:least"]);
    expect(found.candidates[0]?.variant.session?.wasm).toEqual({ "session.disable_prepacking": "1" });
    const two = variants.slice(0, 2);
    expect(ids(planOf({ bundle: { variants: two } }, { crashed }).candidates)).toEqual(["wasm:large"]);
    const alone = planOf({ bundle: { variants: [variants[1] as Variant] } }, { crashed });
    expect(alone.candidates[0]?.fit).toMatchObject({
      fits: "tight",
      why: "a page crashed while it loaded middle on wasm",
    });
  });
});

describe("beside servers", () => {
  const golden = { inputs: file("in"), outputs: file("out") };
  const variants = [
    variant("f32", { golden, mixesRows: false }),
    variant("f16", { golden, needs: ["shader-f16"], mixesRows: false }),
    variant("int8", { mixesRows: false }),
  ];
  const recurrent = { outputs: [{ ...port, name: "present", feeds: "past" }] };

  test("a server's variant has the goldens of all, and tells which are of half precision", () => {
    const found = planOf({ bundle: { variants } }, { placement: "auto" });
    expect(found.remote).toEqual({
      backend: "remote",
      variant: { id: "remote", needs: [], files: [], mixesRows: false },
      goldens: [
        { variant: "f32", isHalf: false, golden },
        { variant: "f16", isHalf: true, golden },
      ],
      why: null,
    });
    expect(ids(found.candidates)).toEqual(["wasm:f32"]);
  });

  test("rows are joined on a server only where each variant allows it", () => {
    const mixes = (list: readonly Variant[], criteria: Partial<LoadCriteria> = {}): boolean | undefined =>
      planOf({ bundle: { variants: list } }, { placement: "auto", ...criteria }).remote?.variant.mixesRows;
    expect(mixes(variants)).toBe(false);
    expect(mixes([...variants, variant("int4")])).toBe(true);
    expect(mixes([...variants, variant("int4")], { pins: { backend: undefined, variant: "f32" } })).toBe(false);
    expect(mixes([variant("f32", { mixesRows: true })])).toBe(true);
  });

  test("on this device alone is the default", () => {
    expect(planOf({ bundle: { variants } }).remote).toBeNull();
    expect(planOf({ bundle: { variants } }, { placement: "local" }).remote).toBeNull();
  });

  test("on servers alone there are no candidates here", () => {
    const found = planOf({ bundle: { variants } }, { placement: "remote", ...BOTH });
    expect(found).toMatchObject({
      ...{ candidates: [], spares: [], smaller: null, spared: null, onWasm: {}, settled: null },
      remote: { why: 'placement is "remote"' },
    });
  });

  test("where none runs here, or fits, servers answer, and the reason is reported", () => {
    const unfit = planOf({ bundle: { variants: [variant("npu", { needs: ["npu"] })] } }, { placement: "auto" });
    expect(unfit.candidates).toEqual([]);
    expect(unfit.remote?.why).toContain("m can't run here");
    const memory = { budgetBytes: 1, copiesBlobs: false, holdsBlobs: false };
    const large = planOf({ bundle: { variants } }, { placement: "auto", memory });
    expect(large.remote?.why).toContain("m does not fit in memory");
    expect(() => planOf({ bundle: { variants } }, { memory })).toThrow(/does not fit/);
  });

  test("a caller's mistake is not taken for that", () => {
    const pins = { backend: undefined, variant: "other" };
    for (const placement of ["auto", "remote"] as const)
      expect(() => planOf({ bundle: { variants } }, { placement, pins })).toThrow(RangeError);
  });

  test("a model with a recurrent state stays here, or is refused on servers alone", () => {
    expect(planOf({ bundle: { variants }, model: recurrent }, { placement: "auto" })).toMatchObject({
      remote: null,
      candidates: [{ backend: "wasm" }],
    });
    expect(() => planOf({ bundle: { variants }, model: recurrent }, { placement: "remote" })).toThrow(
      expect.objectContaining({
        code: "no-backend",
        message: `m has a recurrent state, which servers don't keep: load it with placement "local".`,
        details: { model: "m", reason: "pinned" },
      }),
    );
  });
});
