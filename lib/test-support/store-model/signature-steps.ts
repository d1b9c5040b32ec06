// The steps of publishers who sign, of attackers, and of apps without trusted keys on the same origin.
import fc from "fast-check";
import { SIGNATURES } from "./publisher.ts";
import type { SignatureState } from "./publisher.ts";
import { attempt, StoreStep } from "./store-step.ts";
import { loadAlone, policy, tab, target } from "./steps.ts";
import type { Tab } from "./store-world.ts";

const signature: fc.Arbitrary<SignatureState> = fc.constantFrom(...SIGNATURES);

/** Steps that change the signatures on servers, and the device's record of releases. */
export const SIGNATURE_STEPS: readonly fc.Arbitrary<StoreStep>[] = [
  fc.record({ m: target, s: signature }).map(
    ({ m, s }) =>
      new StoreStep(`publish ${m} with a signature that is ${s}`, async (world) => {
        await world.publish(m, s);
        return undefined;
      }),
  ),
  fc.record({ m: target, s: signature, t: tab }).map(
    ({ m, s, t }) =>
      new StoreStep(`the signature of ${m} is ${s}, load it in ${t}`, async (world) => {
        const { version } = world.served.get(m) ?? {};
        if (version !== undefined) await world.serve(m, version, s);
        return loadAlone(world, m, t, "first");
      }),
  ),
  fc.record({ m: target, back: fc.integer({ min: 1, max: 3 }), t: tab }).map(
    ({ m, back, t }) =>
      new StoreStep(`the server of ${m} goes back by ${back} versions, load it in ${t}`, async (world) => {
        const version = world.versions.get(m)?.at(-1 - back);
        if (version !== undefined) await world.serve(m, version, "good");
        return loadAlone(world, m, t, "first");
      }),
  ),
  fc.boolean().map(
    (is) =>
      new StoreStep(is ? "the disk is full" : "the disk has room", (world) => {
        world.isDiskFull = is;
        return Promise.resolve(undefined);
      }),
  ),
  fc.record({ m: target, t: tab, p: policy }).map(
    ({ m, t, p }) =>
      new StoreStep(`an app without keys loads ${m} in ${t}, ${p}`, async (world) => {
        const identity = world.served.get(m)?.version.identity;
        const isSame = identity === world.loadable.get(m);
        await attempt(world, () => world.loadUntrusted(world.tabs[t] as Tab, m, p));
        // It stores another version in place of the one that this app trusts: docs/security.md.
        return isSame ? { room: m } : { room: m, damaged: m };
      }),
  ),
  fc.constant(
    new StoreStep("localStorage is cleared", (world) => {
      world.trust?.clearPage();
      return Promise.resolve(undefined);
    }),
  ),
  fc.constant(
    new StoreStep("the store loses its record of releases", async (world) => {
      for (const name of await world.base.names()) if (/^releases?-/.test(name)) await world.base.remove(name);
      world.trust?.store.clear();
      return undefined;
    }),
  ),
];
