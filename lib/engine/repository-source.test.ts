// Repositories by name: the address that is opened, and the host that sees a token.
import { expect, test } from "vitest";
import { resolveRepository } from "./repository-source.ts";

const token = (): string => "hf_secret";
const tokenFor = (hub: object, source: object): unknown =>
  resolveRepository({ repo: "owner/name", ...source }, {}, hub, "https://app.example/")[1].token;

test("the engine's token is for the engine's own hub; another host gets its own or none", () => {
  expect(tokenFor({ token }, {})).toBe(token);
  expect(tokenFor({ token }, { host: "https://huggingface.co/" })).toBe(token);
  expect(tokenFor({ token }, { host: "https://models.example" })).toBeUndefined();
  const hub = { token, host: "https://models.example/hf" };
  expect(tokenFor(hub, {})).toBe(token);
  expect(tokenFor(hub, { host: "https://models.example/hf/" })).toBe(token);
  expect(tokenFor(hub, { host: "https://models.example" })).toBeUndefined();
  expect(tokenFor(hub, { host: "https://huggingface.co" })).toBeUndefined();
  const own = (): string => "other";
  expect(tokenFor({ token }, { host: "https://models.example", token: own })).toBe(own);
});
