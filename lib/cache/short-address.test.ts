// Errors about models that are data: URLs.
import { expect, test } from "vitest";
import { SelvedgeError } from "../core/errors.ts";
import { withShortAddresses } from "./short-address.ts";

test("a data: URL is shown by its beginning, in the message and the details; all else stays", () => {
  const url = `data:application/octet-stream;base64,${"AAAA".repeat(2_000)}`;
  const cause = new Error("x");
  const error = new SelvedgeError("model-invalid", `${url} is a picture. Pass it to run.`, { url, size: 3 }, cause);
  const short = withShortAddresses(error) as SelvedgeError;
  expect(short.message).toMatch(/^data:application\/octet-stream;base64,A+… is a picture\. Pass it to run\.$/);
  expect(short.message.length).toBeLessThan(120);
  expect(String(short.details["url"]).length).toBeLessThan(80);
  expect(short).toMatchObject({ code: "model-invalid", details: { size: 3 }, cause });
});

test("a data: URL in the details alone is shortened too", () => {
  const url = `data:,${"a".repeat(2_000)}`;
  const { details } = withShortAddresses(new SelvedgeError("model-invalid", "It is empty.", { url })) as SelvedgeError;
  expect(String(details["url"])).toMatch(/^data:,a{59}…$/);
});

test("an error without one is returned as it is", () => {
  const error = new SelvedgeError("model-invalid", "https://a.test/data:x is text", { url: "data:,x" });
  expect(withShortAddresses(error)).toBe(error);
  expect(withShortAddresses("x")).toBe("x");
});
