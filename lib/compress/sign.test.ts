import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isSelvedgeError } from "../errors.ts";
import { writeBundle } from "./pack.ts";
import { createKey, signBundle, verifyBundle } from "./sign.ts";

let folder: string;
let bundle: string;
let key: string;
let trusted: string;

const port = { name: "x", dtype: "float32", dims: ["n"], batchAxis: 0 } as const;
const model = { name: "m", version: "1", licence: "MIT", inputs: [port], outputs: [port] };
const pack = (bytes: number[], into = bundle) =>
  writeBundle(into, {
    model,
    variants: [{ id: "f32", needs: [], files: [{ path: "m", bytes: Uint8Array.from(bytes) }] }],
  });
async function refusal(trust = [trusted], nowMs?: number): Promise<unknown> {
  try {
    await verifyBundle(bundle, trust, nowMs);
    return null;
  } catch (error) {
    if (!isSelvedgeError(error)) throw error;
    return error.details["reason"];
  }
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "selvedge-sign-"));
  bundle = join(folder, "m");
  key = join(folder, "key.json");
  await pack([1, 2, 3]);
  trusted = await createKey(key);
});
afterEach(() => rm(folder, { recursive: true }));

test("a signed bundle is trusted by who trusts the key, until it expires", async () => {
  expect(await refusal()).toBe("unsigned");
  const { release, expires } = await signBundle(bundle, { key, days: 10 });
  expect(release).toBe(1);
  expect(await refusal()).toBeNull();
  expect(await refusal([trusted], Date.parse(expires))).toBe("expired");
  expect(await refusal([await createKey(join(folder, "other.json"))])).toBe("wrong-key");
});

test("a chunk that was exchanged is found, before signing and after", async () => {
  await signBundle(bundle, { key });
  const { variants } = JSON.parse(await readFile(join(bundle, "bundle.json"), "utf8")) as {
    variants: { files: { chunks: { sha256: string }[] }[] }[];
  };
  const chunk = join(bundle, "chunks", variants[0]?.files[0]?.chunks[0]?.sha256 ?? "");
  await writeFile(chunk, Uint8Array.of(1, 2, 4));
  expect(await refusal()).toBe("altered");
  await expect(signBundle(bundle, { key })).rejects.toThrow(/other bytes/);
});

test("another bundle under an old signature is refused; signing it again makes the next release", async () => {
  await signBundle(bundle, { key });
  const signature = await readFile(join(bundle, "signature.json"));
  await rm(bundle, { recursive: true });
  await pack([4, 5, 6]);
  await writeFile(join(bundle, "signature.json"), signature);
  expect(await refusal()).toBe("altered");
  expect((await signBundle(bundle, { key })).release).toBe(2);
  expect(await refusal()).toBeNull();
  await expect(signBundle(bundle, { key, release: 1 })).rejects.toThrow(/older than 2/);
});

test("two keys sign one release, for a rotation", async () => {
  const next = join(folder, "next.json");
  const nextTrusted = await createKey(next);
  await signBundle(bundle, { key });
  expect((await signBundle(bundle, { key: next })).signatures).toHaveLength(2);
  expect(await refusal([trusted])).toBeNull();
  expect(await refusal([nextTrusted])).toBeNull();
});

test("a private key is the owner's alone, is never overwritten, and one that is none is named", async () => {
  expect((await stat(key)).mode & 0o077).toBe(0);
  await expect(createKey(key)).rejects.toThrow(/never overwritten/);
  await expect(signBundle(bundle, { key: join(folder, "none") })).rejects.toThrow(/--new-key/);
  await writeFile(join(folder, "bad.json"), "{}");
  await expect(signBundle(bundle, { key: join(folder, "bad.json") })).rejects.toThrow(TypeError);
});

test("wrong options and wrong folders are named", async () => {
  await expect(signBundle(bundle, { key, release: -1 })).rejects.toThrow(RangeError);
  await expect(signBundle(bundle, { key, days: 0 })).rejects.toThrow(RangeError);
  await expect(signBundle(folder, { key })).rejects.toThrow(/bundle.json/);
  await writeFile(join(bundle, "signature.json"), "<html>");
  expect(await refusal()).toBe("malformed");
});
