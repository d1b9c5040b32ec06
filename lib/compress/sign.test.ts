import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isSelvedgeError } from "../errors.ts";
import { writeBundle } from "./pack.ts";
import type { Signature } from "../signature.ts";
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
    await expect(signBundle(bundle, { key, release })).rejects.toThrow(/another bundle's/);
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
