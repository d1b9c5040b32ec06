// Which sizes a model's run is counted with, and which files it is read from. A graph of open axes takes as much as the
// same graph with the sizes that its description states.
import { describe, expect, test } from "vitest";
import { sha256Hex } from "../core/bundle.ts";
import type { Bundle, ImageSpec, SoundSpec, Variant } from "../core/bundle.ts";
import { modelOf } from "../test-support/onnx/onnx-graphs.ts";
import { countRuns } from "./count-runs.ts";
import { ModelStore } from "./model-store.ts";
import { bareOf } from "./open.ts";
import type { OpenedBundle } from "./opened.ts";
import { MemoryStore } from "./stores/memory.ts";
import type { Bytes, Store } from "./stores/store.ts";

const URL_M = "https://models.example/m.onnx";

/** The bytes of a model that pools an image for each of its channels, so that the order of the axes counts. */
function graph(name: string, dims: readonly number[], isOpen: boolean): Bytes {
  const model = modelOf({
    inputs: { [name]: { dtype: "float32", dims } },
    outputs: ["y"],
    nodes: [{ opType: dims.length === 4 ? "GlobalAveragePool" : "Transpose", input: [name], output: ["y"] }],
  });
  const [input] = model.graph.proto.input;
  const shape = input?.type?.value.case === "tensorType" ? input.type.value.value.shape : undefined;
  if (isOpen) for (const [i, dim] of (shape?.dim ?? []).entries()) dim.value = { case: "dimParam", value: `d${i}` };
  return new Uint8Array(model.write());
}

type Model = Bundle["model"];
const runOf = async (bytes: Bytes, more: Partial<Model> = {}): Promise<number | undefined> => {
  const { bundle, ...opened } = bareOf(URL_M, bytes.length);
  const described = { ...opened, bundle: { ...bundle, model: { ...bundle.model, ...more } }, data: new Blob([bytes]) };
  return (await countRuns(described, null)).bundle.variants[0]?.activationBytes?.wasm;
};

const stepsOf = (more: Partial<NonNullable<Model["steps"]>>): Partial<Model> => ({
  steps: { texts: {}, images: {}, decodes: {}, assets: {}, ...more },
});

describe("an image's size", () => {
  const exact = { mode: "exact", width: 20, height: 10 } as const;
  const image = (more: Partial<ImageSpec>): ImageSpec => ({ resize: exact, channels: "rgb", layout: "nchw", ...more });

  test.each<[string, Partial<ImageSpec>, readonly number[]]>([
    ["of colours, channels first", {}, [1, 3, 10, 20]],
    ["of colours in another order", { channels: "bgr" }, [1, 3, 10, 20]],
    ["of colours, channels last", { layout: "nhwc" }, [1, 10, 20, 3]],
    ["in gray, channels first", { channels: "gray" }, [1, 1, 10, 20]],
    ["in gray, channels last", { channels: "gray", layout: "nhwc" }, [1, 10, 20, 1]],
  ])("%s, is that of its tensor, from a bundle and from a repository", async (_, more, dims) => {
    const wanted = await runOf(graph("x", dims, false));
    expect(wanted).toBeGreaterThan(0);
    const inputs = [
      { name: "x", dtype: "float32", dims: ["n", "a", "b", "c"], batchAxis: 0, image: image(more) },
    ] as const;
    expect(await runOf(graph("x", dims, true), { inputs })).toBe(wanted);
    expect(await runOf(graph("x", dims, true), stepsOf({ images: { x: image(more) } }))).toBe(wanted);
    expect(await runOf(graph("x", dims, true), stepsOf({ images: { other: image(more) } }))).toBeUndefined();
  });

  test("that depends on the image is not known", async () => {
    const resize = { mode: "height", height: 10 } as const;
    expect(
      await runOf(graph("x", [1, 3, 10, 20], true), stepsOf({ images: { x: image({ resize }) } })),
    ).toBeUndefined();
  });
});

test("a sound's size is that of its tensor, unless its length is open", async () => {
  const fbank: SoundSpec = { op: "fbank", sampleRate: 16_000, bands: 128, frames: 1_024 };
  const wanted = await runOf(graph("x", [1, 1_024, 128], false));
  const open = graph("x", [1, 1_024, 128], true);
  const port = { name: "x", dtype: "float32", dims: ["n", "t", "b"], batchAxis: 0 } as const;
  expect(await runOf(open, { inputs: [{ ...port, sound: fbank }] })).toBe(wanted);
  expect(await runOf(open, stepsOf({ sounds: { x: fbank } }))).toBe(wanted);
  expect(await runOf(open, { inputs: [port] })).toBeUndefined();
  const samples: SoundSpec = { op: "samples", sampleRate: 16_000 };
  expect(await runOf(graph("x", [1, 100], true), stepsOf({ sounds: { x: samples } }))).toBeUndefined();
});

describe("the file of a variant", () => {
  const bytes = graph("x", [1, 1_000], false);
  const other = graph("x", [1, 2_000], false);
  const files = async (...all: readonly Bytes[]): Promise<Variant["files"]> =>
    Promise.all(
      all.map(async (x, i) => ({
        path: `${i}.onnx`,
        bytes: x.length,
        chunks: [{ sha256: await sha256Hex(x), bytes: x.length }],
      })),
    );
  const opened = (variants: readonly Variant[]): OpenedBundle => {
    const { bundle, ...more } = bareOf(URL_M, 1);
    return { ...more, bundle: { ...bundle, variants } };
  };
  const counted = async (variants: readonly Variant[], store: Store | null) => {
    const found = await countRuns(opened(variants), store === null ? null : new ModelStore(store, () => 1));
    return found.bundle.variants.map((x) => x.activationBytes?.wasm);
  };
  const storeOf = async (...all: readonly Bytes[]): Promise<MemoryStore> => {
    const store = new MemoryStore();
    for (const x of all) await store.write(`chunk-${await sha256Hex(x)}-${x.length}`, x);
    return store;
  };

  test("is its first one; each variant has its own, and one that states its run keeps that", async () => {
    const [run, otherRun] = [await runOf(bytes), await runOf(other)];
    expect(otherRun).toBe(2 * (run ?? 0));
    const variants: Variant[] = [
      { id: "a", needs: [], files: await files(bytes, other) },
      { id: "b", needs: [], files: await files(other) },
      { id: "c", needs: [], files: await files(other), activationBytes: { wasm: 7, webgpu: 7 } },
      { id: "none", needs: [], files: [] },
    ];
    expect(await counted(variants, await storeOf(bytes, other))).toEqual([run, otherRun, 7, undefined]);
    expect(await counted(variants, await storeOf(other))).toEqual([undefined, otherRun, 7, undefined]);
    expect(await counted(variants, null)).toEqual([undefined, undefined, 7, undefined]);
  });

  test("is not read where all variants state their runs", async () => {
    const store = new MemoryStore();
    store.names = () => Promise.reject(new Error("asked"));
    const given = opened([{ id: "a", needs: [], files: await files(bytes), activationBytes: { wasm: 7, webgpu: 7 } }]);
    expect(await countRuns(given, new ModelStore(store, () => 1))).toBe(given);
  });

  test("counts as absent in a store that fails, when its names are listed and when it is read", async () => {
    const variants: Variant[] = [{ id: "a", needs: [], files: await files(bytes) }];
    for (const method of ["names", "blob"] as const) {
      const store = await storeOf(bytes);
      Object.assign(store, { [method]: () => Promise.reject(new Error("the store failed")) });
      expect(await counted(variants, store)).toEqual([undefined]);
    }
  });

  test("is not counted while a piece of it is missing, whatever the others hold", async () => {
    const [file] = await files(bytes);
    const piece = Uint8Array.of(0x32, 1, 65); // a text beside the graph
    const rest = { sha256: "a".repeat(64), bytes: 2 * piece.length };
    const store = await storeOf(bytes, piece);
    const chunks = [...(file?.chunks ?? []), rest];
    const variants: Variant[] = [{ id: "a", needs: [], files: [{ path: "m.onnx", bytes: bytes.length + 6, chunks }] }];
    const one = { sha256: await sha256Hex(piece), bytes: piece.length };
    const modelStore = new ModelStore(store, () => 1);
    await modelStore.recordFile(rest, [one]);
    expect(await counted(variants, store)).toEqual([undefined]);
    await modelStore.recordFile(rest, [one, one]);
    expect(await counted(variants, store)).toEqual([await runOf(bytes)]);
  });

  test("is not looked for in the store where the bytes are here", async () => {
    const store = new MemoryStore();
    let asked = 0;
    store.names = () => Promise.resolve((asked += 1)).then(() => []);
    const given = { ...bareOf(URL_M, bytes.length), data: new Blob([bytes]) };
    const found = await countRuns(given, new ModelStore(store, () => 1));
    expect([found.bundle.variants[0]?.activationBytes?.wasm, asked]).toEqual([await runOf(bytes), 0]);
  });

  test("that is no graph leaves the variant as it is", async () => {
    const text = new TextEncoder().encode("<html></html>");
    const variants: Variant[] = [{ id: "a", needs: [], files: await files(text) }];
    expect(await counted(variants, await storeOf(text))).toEqual([undefined]);
    const found = await countRuns(opened(variants), null);
    expect(found.bundle.variants).toEqual(variants);
  });
});
