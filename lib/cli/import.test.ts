// `selvedge import`: the host that sees an access token.
import { expect, test } from "vitest";
import { tokenOf } from "./import.ts";

test("HF_TOKEN is for the Hugging Face hub alone; a named variable is for any host", () => {
  const env = { HF_TOKEN: "hf", OWN: "own", EMPTY: "" };
  expect(tokenOf(env, undefined, undefined)).toBe("hf");
  expect(tokenOf(env, undefined, "https://huggingface.co/")).toBe("hf");
  expect(tokenOf(env, undefined, "https://models.example")).toBeUndefined();
  expect(tokenOf(env, "OWN", "https://models.example")).toBe("own");
  expect(tokenOf(env, "HF_TOKEN", "https://models.example")).toBe("hf");
  expect(tokenOf(env, "EMPTY", undefined)).toBeUndefined();
});
