import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isSelvedgeError } from "../../core/errors.ts";
import { writeBundle } from "./pack.ts";
import type { Signature } from "../../core/signature.ts";
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
  expect(release).toBeCloseTo(Date.now() / 1000, -2);
  expect(await refusal()).toBeNull();
  expect(await refusal([trusted], Date.parse(expires))).toBe("expired");
  expect(await refusal([await createKey(join(folder, "other.json"))])).toBe("wrong-key");
});

test("a chunk that was exchanged is found, before signing and after", async () => {
  await signBundle(bundle, { key });
  const { variants } = JSON.parse(await readFile(join(bundle, "bundle.json"), "utf8")) as {
    variants: { files: { chunks: { sha256: string }[] }[] }[];
  };
  const chunk = join(bundle, "chunks", `${variants[0]?.files[0]?.chunks[0]?.sha256 ?? ""}.bin`);
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
  const { release } = await signBundle(bundle, { key });
  expect(release).toBeGreaterThan((JSON.parse(signature.toString()) as Signature).release);
  expect(await refusal()).toBeNull();
  await expect(signBundle(bundle, { key, release: 1 })).rejects.toThrow(/1 is older than \d+/);
});

describe("releases grow from one version to the next (store-A4)", () => {
  test("where the folder is built anew, as in a checkout: by the seconds", async () => {
    const releases: number[] = [];
    for (const nowMs of [1_700_000_000_000, 1_700_000_060_000, 1_700_000_120_000]) {
      await rm(bundle, { recursive: true });
      await pack([nowMs % 251, 1]);
      releases.push((await signBundle(bundle, { key, nowMs })).release);
    }
    expect(releases).toEqual([1_700_000_000, 1_700_000_060, 1_700_000_120]);
  });

  test("where the folder is replaced: whatever the clock says", async () => {
    const releases: number[] = [];
    for (const [i, nowMs] of [1_700_000_000_000, 1_700_000_000_000, 1_600_000_000_000].entries()) {
      await pack([i, 1]);
      releases.push((await signBundle(bundle, { key, nowMs })).release);
    }
    expect(releases).toEqual([1_700_000_000, 1_700_000_001, 1_700_000_002]);
  });

  test("after a release that was named", async () => {
    await signBundle(bundle, { key, release: 4_000_000_000 });
    await pack([7, 8]);
    expect((await signBundle(bundle, { key })).release).toBe(4_000_000_001);
  });

  test("one number never names two bundles", async () => {
    const { release } = await signBundle(bundle, { key });
    await pack([7, 8]);
    await expect(signBundle(bundle, { key, release })).rejects.toThrow(/was used for another bundle/);
  });
});

describe("signing again renews (store-B8)", () => {
  const day = 86_400_000;

  test.each([29, 40])("on day %i of 30", async (days) => {
    const nowMs = 1_700_000_000_000;
    const { release } = await signBundle(bundle, { key, nowMs, days: 30 });
    const again = await signBundle(bundle, { key, nowMs: nowMs + days * day });
    expect(Date.parse(again.expires)).toBe(nowMs + (days + 365) * day);
    expect(again.release).toBe(release);
    expect(await refusal([trusted], nowMs + (days + 1) * day)).toBeNull();
  });

  test("a second key signs no date that is past", async () => {
    const next = join(folder, "next.json");
    await createKey(next);
    const nowMs = 1_700_000_000_000;
    await signBundle(bundle, { key, nowMs, days: 30 });
    const second = await signBundle(bundle, { key: next, nowMs: nowMs + 30 * day });
    expect(Date.parse(second.expires)).toBe(nowMs + 395 * day);
    expect(second.signatures).toHaveLength(1);
  });
});

test("two keys sign one release, for a rotation", async () => {
  const next = join(folder, "next.json");
  const nextTrusted = await createKey(next);
  await signBundle(bundle, { key });
  expect((await signBundle(bundle, { key: next })).signatures).toHaveLength(2);
  expect(await refusal([trusted])).toBeNull();
  expect(await refusal([nextTrusted])).toBeNull();
});

describe("signing again keeps what other keys signed (tool-keys)", () => {
  const nowMs = 1_700_000_000_000;
  const day = 86_400_000;
  let next: string;
  let nextTrusted: string;
  beforeEach(async () => {
    next = join(folder, "next.json");
    nextTrusted = await createKey(next);
    await signBundle(bundle, { key, nowMs, days: 30 });
    await signBundle(bundle, { key: next, nowMs });
  });

  test("the same bundle: each with the date that it signed", async () => {
    const again = await signBundle(bundle, { key, nowMs: nowMs + day, days: 60 });
    expect(again.dropped).toEqual([]);
    expect(Date.parse(again.expires)).toBe(nowMs + 61 * day);
    expect(await refusal([nextTrusted], nowMs + 29 * day)).toBeNull();
    expect(await refusal([nextTrusted], nowMs + 31 * day)).toBe("expired");
    expect(await refusal([trusted], nowMs + 31 * day)).toBeNull();
    expect((await verifyBundle(bundle, [nextTrusted], nowMs + day)).expires).toBe(
      new Date(nowMs + 30 * day).toISOString(),
    );
    expect((await verifyBundle(bundle, [nextTrusted, trusted], nowMs + day)).expires).toBe(again.expires);
  });

  test("in any order, any number of times", async () => {
    for (const [i, each] of [next, key, key, next, key].entries())
      expect((await signBundle(bundle, { key: each, nowMs: nowMs + i * day, days: 10 + i })).dropped).toEqual([]);
    expect(await refusal([nextTrusted], nowMs + 4 * day)).toBeNull();
    expect(await refusal([trusted], nowMs + 4 * day)).toBeNull();
  });

  test("another bundle, another release, or a date that is past: the key whose signature is dropped is named", async () => {
    const { release, dropped } = await signBundle(bundle, { key, nowMs: nowMs + 30 * day });
    expect(dropped).toEqual([nextTrusted]);
    await signBundle(bundle, { key: next, nowMs });
    expect((await signBundle(bundle, { key, nowMs, release: release + 1 })).dropped).toEqual([nextTrusted]);
    await signBundle(bundle, { key: next, nowMs });
    await pack([7, 8]);
    expect((await signBundle(bundle, { key, nowMs })).dropped).toEqual([nextTrusted]);
    expect(await refusal([nextTrusted], nowMs)).toBe("wrong-key");
  });

  test("a signature that is not that key's is dropped", async () => {
    const path = join(bundle, "signature.json");
    const file = JSON.parse(await readFile(path, "utf8")) as Signature;
    const [first] = file.signatures;
    const forged = file.signatures.map((x) => (x.key === nextTrusted ? { ...x, signature: first?.signature } : x));
    await writeFile(path, JSON.stringify({ ...file, signatures: forged }));
    expect((await signBundle(bundle, { key, nowMs })).dropped).toEqual([nextTrusted]);
  });
});

describe("a chunk that does not have its size as stored is refused (tool-wire)", () => {
  const zeros = Array<number>(1_000).fill(0);
  const chunkFile = async (): Promise<string> =>
    join(bundle, "chunks", (await readdir(join(bundle, "chunks")))[0] ?? "");

  test.each<[string, number[]]>([
    ["compressed", zeros],
    ["as it is", [1, 2, 3]],
  ])("%s, with bytes behind its end", async (_, bytes) => {
    await pack(bytes);
    await signBundle(bundle, { key });
    const path = await chunkFile();
    const stored = await readFile(path);
    await writeFile(path, Buffer.concat([stored, Buffer.of(1, 2)]));
    const message = `${path} is ${stored.length + 2} bytes, but bundle.json says ${stored.length}`;
    await expect(verifyBundle(bundle, [trusted])).rejects.toThrow(message);
    await expect(signBundle(bundle, { key })).rejects.toThrow(message);
    await writeFile(path, stored);
    expect(await refusal()).toBeNull();
  });

  test("and one whose content expands to another size, or to other bytes", async () => {
    await pack(zeros);
    const path = await chunkFile();
    const stored = await readFile(path);
    const rewrite = async (bytes: Buffer): Promise<void> => {
      const small = brotliCompressSync(bytes);
      await writeFile(path, small);
      const file = join(bundle, "bundle.json");
      const text = await readFile(file, "utf8");
      await writeFile(file, text.replaceAll(/"wireBytes":\d+/g, `"wireBytes":${small.length}`));
    };
    await rewrite(Buffer.alloc(999));
    await expect(signBundle(bundle, { key })).rejects.toThrow(/expands to 999 bytes, but bundle.json says 1000/);
    await rewrite(Buffer.alloc(1_001));
    await expect(signBundle(bundle, { key })).rejects.toThrow(/does not expand to 1000 bytes/);
    await rewrite(Buffer.alloc(1_000, 1));
    await expect(signBundle(bundle, { key })).rejects.toThrow(/holds other bytes/);
    await rewrite(Buffer.alloc(1_000));
    expect(await readFile(path)).toHaveLength(stored.length);
    await signBundle(bundle, { key });
  });
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
