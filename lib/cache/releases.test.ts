// The rules of rollback protection, one by one; tuf.test.ts has them over a server.
import { expect, test } from "vitest";
import { NO_RELEASES } from "../core/release-record.ts";
import type { Releases } from "../core/release-record.ts";
import type { VerifiedClaim } from "../core/signature.ts";
import { checkRelease, noteRelease, releasesOfNote } from "./releases.ts";

const URL_A = "https://models.example/m/bundle.json";
const ONE = "1".repeat(64);
const TWO = "2".repeat(64);

function claimOf(release: number, { model = "m", identity = ONE, keys = ["k1"] } = {}): VerifiedClaim {
  const expires = "2027-01-01T00:00:00Z";
  return { claim: { schema: "selvedge/signature@1", identity, model, release, expires }, keys };
}

function check(
  releases: Releases,
  claim: VerifiedClaim,
  { url = URL_A, trustedKeys = ["k1"], isNamed = false } = {},
): void {
  checkRelease(releases, url, claim, { trustedKeys, isNamed });
}

const seen = noteRelease(NO_RELEASES, URL_A, claimOf(5));

test("a claim is recorded by each key that signed it, and its model by the address without query and fragment", () => {
  expect(noteRelease(NO_RELEASES, `${URL_A}?v=3#x`, claimOf(5, { keys: ["k1", "k2"] }))).toEqual({
    newest: { "k1 m": { release: 5, identity: ONE }, "k2 m": { release: 5, identity: ONE } },
    models: { "https://models.example/m/bundle.json": "m" },
  });
});

test("a record keeps the highest release, and the model that an address served last", () => {
  const after = noteRelease(seen, URL_A, claimOf(4, { identity: TWO }));
  expect(after.newest["k1 m"]).toEqual({ release: 5, identity: ONE });
  const renamed = noteRelease(after, URL_A, claimOf(1, { model: "n" }));
  expect(renamed.models).toEqual({ [URL_A]: "n" });
  expect(renamed.newest).toEqual({ "k1 m": { release: 5, identity: ONE }, "k1 n": { release: 1, identity: ONE } });
});

test("nothing seen refuses nothing; nor do newer releases, or the very same one", () => {
  check(NO_RELEASES, claimOf(0));
  check(seen, claimOf(6, { identity: TWO }));
  check(seen, claimOf(5));
});

test("an older release is refused, at every address, with both numbers", () => {
  const url = "https://else.example/other.json";
  expect(() => check(seen, claimOf(4), { url })).toThrow(
    expect.objectContaining({
      code: "integrity-failed",
      message: `${url} is release 4 of "m", older than 5, which this device has seen.`,
      details: { url, release: 4, newest: 5, reason: "older" },
    }),
  );
  check(seen, claimOf(4, { model: "n" }), { url });
});

test("the number of another bundle is refused, and the fix is named", () => {
  expect(() => check(seen, claimOf(5, { identity: TWO }))).toThrow(
    expect.objectContaining({
      code: "integrity-failed",
      message: `${URL_A} has the release number 5 of another bundle of "m" that this device has seen. Sign each bundle with a higher release.`,
      details: { url: URL_A, release: 5, newest: 5, reason: "older" },
    }),
  );
});

test("each trusted key's count holds for all; that of a key which is trusted no more does not", () => {
  const byTwo = noteRelease(seen, URL_A, claimOf(9, { keys: ["k2"] }));
  expect(() => check(byTwo, claimOf(6), { trustedKeys: ["k1", "k2"] })).toThrow(/older than 9/);
  expect(() => check(byTwo, claimOf(6), { trustedKeys: ["k2", "k1"] })).toThrow(/older than 9/);
  check(byTwo, claimOf(6), { trustedKeys: ["k1"] });
  check(byTwo, claimOf(1), { trustedKeys: ["k3"] });
});

test("another model at an address is refused, unless the caller names it", () => {
  const claim = claimOf(9, { model: "n" });
  for (const url of [URL_A, `${URL_A}?v=2`, `${URL_A}#x`])
    expect(() => check(seen, claim, { url })).toThrow(
      expect.objectContaining({
        code: "integrity-failed",
        message: `${url} is the model "n", but served "m" before. If that is meant, move it to another address or name it: load(url, { name: "n" }).`,
        details: { url, model: "n", before: "m", reason: "other-model" },
      }),
    );
  check(seen, claim, { isNamed: true });
  check(seen, claim, { url: "https://models.example/n/bundle.json" });
  check(seen, claim, { url: "https://else.example/m/bundle.json" });
});

test("an older package release's record refuses what is below its number, by any trusted key", () => {
  const releases = releasesOfNote(5, "m", ["k1", "k2"]);
  const none = { release: 4, identity: "0".repeat(64) };
  expect(releases).toEqual({ newest: { "k1 m": none, "k2 m": none }, models: {} });
  check(releases, claimOf(5));
  check(releases, claimOf(5, { identity: TWO }), { trustedKeys: ["k2"] });
  for (const trustedKeys of [["k1"], ["k2"]]) expect(() => check(releases, claimOf(4), { trustedKeys })).toThrow(/4/);
  check(releases, claimOf(1, { model: "n" }));
});
