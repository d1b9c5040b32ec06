// Which file an answer is of, by its validators or by what is known of it; and a model without bytes.
import { expect, test } from "vitest";
import { bareBytes } from "./bare-model.ts";
import { empty, validatorFor } from "./known-file.ts";
import type { KnownFile } from "./known-file.ts";
import { isSame } from "./validator.ts";

const FILE: KnownFile = {
  ...{ draft: "draft", bytes: 5_000, isHashed: false, isGraph: true },
  ...{ headers: {}, onPiece: () => undefined, pieces: [] },
};
const answer = (etag: string, more = {}): Headers => new Headers({ etag, "content-length": "5000", ...more });

test("answers are of one file by their validators, unless its hash is stated and decides", () => {
  for (const [known, isOne] of [
    [null, false],
    [FILE, false],
    [{ ...FILE, isHashed: true }, true],
  ] as const) {
    const [old, next] = ['"old"', '"new"'].map((etag) => validatorFor(known, answer(etag), false));
    expect(isSame(old as NonNullable<typeof old>, next ?? null)).toBe(isOne);
    expect(old?.bytes).toBe(5_000);
  }
});

test("a known file has its size without an answer, and where the answer is compressed", () => {
  expect(validatorFor(FILE, null, false)).toEqual({ etag: null, lastModified: "draft", bytes: 5_000 });
  const compressed = answer('"1"', { "content-encoding": "gzip", "content-length": "70" });
  expect(validatorFor(FILE, compressed, false)).toMatchObject({ etag: '"1"', bytes: 5_000 });
  expect(validatorFor(null, compressed, false)).toMatchObject({ etag: '"1"', bytes: null });
});

test("an empty model is named as that; for bytes, with how they may have become empty", async () => {
  const error = { code: "model-invalid", details: { bytes: 0, reason: "empty" } };
  expect(empty()).toMatchObject({ ...error, message: "The model is empty (0 bytes)." });
  await expect(bareBytes(new Blob())).rejects.toMatchObject({
    ...error,
    message: expect.stringMatching(/^The model is empty \(0 bytes\)\. .*transferred \(detached\)/) as string,
  });
});
