import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { STARTER } from "../worker/backend/identity-model.ts";
import { sniff } from "./sniff.ts";

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (x) => x.charCodeAt(0));

test.each<[string, string, string]>([
  ["Git LFS pointer", "git-lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n"],
  ["page", "html", "\n <!DOCTYPE html><title>App</title>"],
  ["page with a byte order mark", "html", "\xef\xbb\xbf<html>"],
  ["PNG", "picture", "\x89PNG\r\n\x1a\n\0\0\0\rIHDR"],
  ["JPEG", "picture", "\xff\xd8\xff\xe0\0\x10JFIF"],
  ["WebP", "picture", "RIFF\x24\0\0\0WEBPVP8 "],
  ["AVIF", "picture", "\0\0\0\x1cftypavif"],
  ["PyTorch checkpoint", "pickle", "PK\x03\x04\0\0\b\b\0\0model/data.pkl"],
  ["older PyTorch checkpoint", "pickle", "\x80\x02\x8a\nl\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"],
  ["ZIP", "zip", "PK\x03\x04\x14\0\0\0model.onnx"],
  ["safetensors", "safetensors", '\x40\x02\0\0\0\0\0\0{"__metadata__":{}'],
  ["GGUF", "other-format", "GGUF\x03\0\0\0"],
])("a %s is recognised as %s", (_, reason, content) => {
  expect(sniff(latin1(content))?.reason).toBe(reason);
});

test("a gzip file is recognised", () => {
  expect(sniff(gzipSync(STARTER))?.reason).toBe("gzip");
});

test("nothing that begins as an ONNX file does is taken for another format", () => {
  expect(sniff(STARTER)).toBeNull();
  expect(sniff(new Uint8Array())).toBeNull();
  const property = fc.property(fc.uint8Array({ maxLength: 600 }), fc.integer({ min: 1, max: 20 }), (bytes, version) => {
    const text = String.fromCharCode(...bytes.subarray(0, 40));
    fc.pre(!/ftyp|WEBP|TFL3|\{/.test(text));
    expect(sniff(Uint8Array.of(0x08, version, ...bytes))).toBeNull();
  });
  fc.assert(property);
});
