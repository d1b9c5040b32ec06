import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseBundle } from "../bundle-schema.ts";
import { CHUNK_MAX_BYTES, sha256Hex } from "../bundle.ts";
import { brotliDecompressSync } from "node:zlib";
import { packBundle, writeBundle, writePacked } from "./pack.ts";
import type { PackInput } from "./pack.ts";

const bytesOf = (length: number, step: number) => Uint8Array.from({ length }, (_, i) => (i * step) % 251);

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
        { path: "model.onnx", bytes: bytesOf(CHUNK_MAX_BYTES + 10, 7) },
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
    await writeBundle(join(folder, "small"), input());
    const bundle = parseBundle(JSON.parse(await readFile(join(folder, "small/bundle.json"), "utf8")));
    const parts = await Promise.all(
      (bundle.variants[1]?.files[0]?.chunks ?? []).map(async ({ sha256, bytes }) => {
        const chunk = await readFile(join(folder, "small/chunks", `${sha256}.bin`));
        expect(chunk.length).toBe(bytes);
        expect(await sha256Hex(new Uint8Array(chunk))).toBe(sha256);
        return chunk;
      }),
    );
    expect(Buffer.compare(Buffer.concat(parts), input().variants[1]?.files[0]?.bytes ?? Buffer.of())).toBe(0);
  });

  test("keeps a chunk once that two variants share", async () => {
    const { chunkBytes } = await writeBundle(join(folder, "small"), input());
    expect(await readdir(join(folder, "small/chunks"))).toHaveLength(4);
    expect(chunkBytes).toBe(100 + CHUNK_MAX_BYTES + 10 + 4);
  });

  test("gives the same bytes and the same identity for the same input", async () => {
    const [a, b] = [await writeBundle(join(folder, "a"), input()), await writeBundle(join(folder, "b"), input())];
    expect(a.identity).toBe(b.identity);
    expect(await readFile(join(folder, "a/bundle.json"))).toEqual(await readFile(join(folder, "b/bundle.json")));
    const changed = { ...input(), assets: [{ path: "l.txt", bytes: new TextEncoder().encode("a\nc\n") }] };
    expect((await writeBundle(join(folder, "b"), changed)).identity).not.toBe(a.identity);
  });

  test("replaces what was there, and leaves nothing beside it", async () => {
    await writeBundle(join(folder, "small"), input());
    await writeFile(join(folder, "small/chunks/stale"), "old");
    await writeBundle(join(folder, "small"), input());
    expect(await readdir(join(folder, "small/chunks"))).not.toContain("stale");
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

test("each chunk stands beside it as brotli where that is smaller, and is the same when opened", async () => {
  const { chunkBytes, brotliBytes } = await writePacked(join(folder, "b"), await packBundle(input()));
  const names = await readdir(join(folder, "b", "chunks"));
  const small = names.filter((x) => x.endsWith(".br"));
  expect(small.length).toBeGreaterThan(0);
  for (const name of small) {
    const opened = brotliDecompressSync(await readFile(join(folder, "b", "chunks", name)));
    expect(await sha256Hex(new Uint8Array(opened))).toBe(name.slice(0, -7));
  }
  expect(brotliBytes).toBeLessThan(chunkBytes / 10);
});
