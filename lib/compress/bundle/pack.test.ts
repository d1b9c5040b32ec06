import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseBundle } from "../../core/bundle-schema.ts";
import { CHUNK_MAX_BYTES, sha256Hex } from "../../core/bundle.ts";
import { brotliDecompressSync } from "node:zlib";
import { smallModel } from "../../test-support/compress/fixtures.ts";
import { packBundle, writeBundle } from "./pack.ts";
import { readVariantModel } from "./read-bundle.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";
import type { PackInput } from "./pack.ts";

/** Brotli's fastest, for tests that only ask which chunks there are. */
const FAST = { quality: 1 };

const bytesOf = (length: number, step: number) => new Uint8Array(length).map((_, i) => (i * step) % 251);
/** More than one chunk. */
const LARGE = bytesOf(CHUNK_MAX_BYTES + 10, 7);

const input = (): PackInput => ({
  model: {
    name: "small",
    version: "1.0.0",
    licence: "MIT",
    inputs: [{ name: "x", dtype: "float32", dims: ["batch", 3], batchAxis: 0 }],
    outputs: [
      { name: "y", dtype: "float32", dims: ["batch", 3], batchAxis: 0, decode: { op: "labels", asset: "l.txt" } },
    ],
  },
  variants: [
    { id: "int8", needs: ["wasm"], files: [{ path: "model.onnx", bytes: bytesOf(100, 3) }] },
    {
      id: "f32",
      needs: [],
      files: [
        { path: "model.onnx", bytes: LARGE },
        { path: "weights.bin", bytes: bytesOf(100, 3) },
      ],
    },
  ],
  assets: [{ path: "l.txt", bytes: new TextEncoder().encode("a\nb\n") }],
});

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "selvedge-pack-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe("writeBundle", () => {
  test("writes a bundle that parses, and chunks that hash to their names and make up the files", async () => {
    await writeBundle(join(folder, "small"), input(), FAST);
    const bundle = parseBundle(JSON.parse(await readFile(join(folder, "small/bundle.json"), "utf8")));
    const parts = await Promise.all(
      (bundle.variants[1]?.files[0]?.chunks ?? []).map(async ({ sha256, bytes }) => {
        const chunk = await readFile(join(folder, "small/chunks", `${sha256}.bin`));
        const whole = chunk.length === bytes ? chunk : brotliDecompressSync(chunk);
        expect(await sha256Hex(new Uint8Array(whole))).toBe(sha256);
        return whole;
      }),
    );
    expect(Buffer.compare(Buffer.concat(parts), input().variants[1]?.files[0]?.bytes ?? Buffer.of())).toBe(0);
  });

  test("keeps a chunk once that two variants share", async () => {
    const { chunkBytes } = await writeBundle(join(folder, "small"), input(), FAST);
    expect(await readdir(join(folder, "small/chunks"))).toHaveLength(4);
    expect(chunkBytes).toBe(100 + CHUNK_MAX_BYTES + 10 + 4);
  });

  test("gives the same bytes and the same identity for the same input", async () => {
    const [a, b] = [
      await writeBundle(join(folder, "a"), input(), FAST),
      await writeBundle(join(folder, "b"), input(), FAST),
    ];
    expect(a.identity).toBe(b.identity);
    expect(await readFile(join(folder, "a/bundle.json"))).toEqual(await readFile(join(folder, "b/bundle.json")));
    const changed = { ...input(), assets: [{ path: "l.txt", bytes: new TextEncoder().encode("a\nc\n") }] };
    expect((await writeBundle(join(folder, "b"), changed, FAST)).identity).not.toBe(a.identity);
  });

  test("replaces what was there, and leaves nothing beside it", async () => {
    await writeBundle(join(folder, "small"), input(), FAST);
    const stale = `${"0".repeat(64)}.bin`;
    await writeFile(join(folder, "small/chunks", stale), "old");
    await writeBundle(join(folder, "small"), input(), FAST);
    expect(await readdir(join(folder, "small/chunks"))).not.toContain(stale);
    expect(await readdir(folder)).toEqual(["small"]);
  });

  test("writes nothing where the description is not valid", async () => {
    const wrong = { ...input(), model: { ...input().model, name: "../up" } };
    await expect(writeBundle(join(folder, "small"), wrong)).rejects.toMatchObject({ code: "bundle-invalid" });
    expect(await readdir(folder)).toEqual([]);
  });

  test("refuses an empty file", async () => {
    const empty = { ...input(), assets: [{ path: "l.txt", bytes: new Uint8Array() }] };
    await expect(packBundle(empty)).rejects.toMatchObject({ code: "bundle-invalid" });
  });
});

test("chunks are stored with brotli where that saves, expand to what their names say, and count as sent", async () => {
  const { bundle, chunkBytes, wireBytes } = await writeBundle(join(folder, "b"), input());
  const chunks = bundle.variants.flatMap((x) => x.files.flatMap((file) => file.chunks));
  expect(new Set(chunks.map((x) => x.encoding))).toEqual(new Set(["br", undefined]));
  for (const { sha256, bytes, encoding, wireBytes } of chunks) {
    const stored = await readFile(join(folder, "b/chunks", `${sha256}.bin`));
    expect(stored.length).toBe(wireBytes ?? bytes);
    const opened = encoding === "br" ? brotliDecompressSync(stored) : stored;
    expect(await sha256Hex(new Uint8Array(opened))).toBe(sha256);
  }
  expect(wireBytes).toBeLessThan(chunkBytes / 10);
  expect(bundle.variants[0]?.wireBytes).toBe(100);
});

test("a model's weights are stored apart from its graph, and join to the same model", async () => {
  const bytes = smallModel({
    opset: 17,
    inputs: { x: ["batch", 64] },
    outputs: ["y"],
    nodes: [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
    initializers: [
      floatTensor(
        "w",
        [64, 64],
        Float32Array.from({ length: 4096 }, (_, i) => Math.sin(i)),
      ),
    ],
  }).write();
  const variants = [{ id: "f32", needs: [], files: [{ path: "model.onnx", bytes, isModel: true }] }];
  const { bundle } = await writeBundle(join(folder, "m"), { ...input(), variants });
  const [graph, weights] = bundle.variants[0]?.files ?? [];
  expect([graph?.path, weights?.path]).toEqual(["model.onnx", "model.onnx.data"]);
  expect(graph?.bytes).toBeLessThan(1_000);
  expect(weights?.bytes).toBe(64 * 64 * 4);
  expect(await readVariantModel(join(folder, "m"), "f32")).toEqual(bytes);
  expect(bundle.variants[0]?.memoryBytes?.wasm).toBeGreaterThan(25e6);
});
