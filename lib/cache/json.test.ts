// JSON from the network: whose answers are taken, and how one that is none is named.
import { expect, test } from "vitest";
import type { DownloadEffects } from "./download.ts";
import { fetchJson } from "./json.ts";

const URL_ = "https://app.test/m/bundle.json";
const ELSEWHERE = "https://cdn.test/m/bundle.json";

/** Fetches JSON that a server answers with; counts its requests. */
function fetchFrom(text: string, { url = URL_, sameOrigin }: { url?: string; sameOrigin?: boolean } = {}) {
  const asked: RequestInit[] = [];
  const effects: Pick<DownloadEffects, "fetch" | "random" | "setTimer"> = {
    fetch: (_, init) => {
      asked.push(init);
      return Promise.resolve(Object.defineProperty(new Response(text), "url", { value: url }));
    },
    random: () => 0,
    setTimer: () => () => undefined,
  };
  const net = { effects, signal: new AbortController().signal };
  return { asked, found: fetchJson(URL_, 1_000, net, sameOrigin === undefined ? {} : { sameOrigin }) };
}

test("the browser's own copy is revalidated, so that a new version is seen", async () => {
  const { asked, found } = fetchFrom('{"a":1}');
  expect(await found).toEqual({ a: 1 });
  expect(asked).toMatchObject([{ cache: "no-cache" }]);
});

test("an answer from another origin is refused where it must be of the same one, and not asked for again", async () => {
  const { asked, found } = fetchFrom("{}", { url: ELSEWHERE, sameOrigin: true });
  await expect(found).rejects.toMatchObject({
    ...{ code: "integrity-failed", retryable: false, details: { url: URL_, to: ELSEWHERE, reason: "redirected" } },
    message: expect.stringContaining(`${URL_} was redirected to ${ELSEWHERE}, another origin`) as string,
  });
  expect(asked).toHaveLength(1);
  for (const options of [{ url: ELSEWHERE }, { url: `${URL_}?found`, sameOrigin: true }, { url: "", sameOrigin: true }])
    expect(await fetchFrom("[]", options).found).toEqual([]);
});

const LFS = "version https://git-lfs.github.com/spec/v1\n";

test.each<[string, string, string, string]>([
  ["a start page", "<!doctype html><title>An app</title>", "html", "an HTML page. Is the path right?"],
  ["a Git LFS pointer", LFS, "git-lfs", "a Git LFS pointer, not the file itself. Run `git lfs pull`"],
  ["a picture", "GIF89a", "not-json", "a picture. Is the path right?"],
  ["nothing", "", "not-json", "empty. Is the path right?"],
  ["its beginning", '\n{ "schema": ', "not-json", "cut short or altered ("],
  ["the beginning of a list", "[1, ", "not-json", "cut short or altered ("],
  ["a text", "hello{}", "not-json", "another file. Is the path right?"],
])("%s in place of JSON is named as that", async (_, text, reason, what) => {
  await expect(fetchFrom(text).found).rejects.toMatchObject({
    ...{ code: "bundle-invalid", details: { url: URL_, reason } },
    message: expect.stringContaining(`${URL_} is not JSON: it is ${what}`) as string,
  });
});
