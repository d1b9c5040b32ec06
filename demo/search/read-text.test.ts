import { expect, test } from "vitest";
import { textOf } from "./read-text.ts";

const TEXT = "Grüße, naïve café\n\tÀ bientôt";

test("UTF-8, UTF-16 of both orders and Windows-1252 are read as the same text", () => {
  const little = Buffer.from(`\uFEFF${TEXT}`, "utf16le");
  const files = [
    Buffer.from(TEXT),
    Buffer.from(`\uFEFF${TEXT}`),
    little,
    Buffer.from(little).swap16(),
    Buffer.from(TEXT, "latin1"),
  ];
  for (const file of files) expect(textOf(file)).toBe(TEXT);
  expect(textOf(Buffer.of())).toBe("");
});

test("binary files are no text, with NUL or without; a log with colours is one", () => {
  expect(textOf(Buffer.of(1, 0, 2))).toBeNull();
  expect(textOf(Buffer.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a))).toBeNull();
  expect(textOf(Buffer.of(0xff, 0xd8, 0xff, 0xe0, 0x10, 0x4a))).toBeNull();
  expect(textOf(Buffer.from("\u001B[31mfailed\u001B[0m"))).toBe("\u001B[31mfailed\u001B[0m");
});
