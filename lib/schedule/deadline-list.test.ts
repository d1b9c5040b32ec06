import fc from "fast-check";
import { expect, test } from "vitest";
import { DeadlineList } from "./deadline-list.ts";

test("is sorted whatever is added and removed, and finds the first that is due at a time", () => {
  const action = fc.record({ dueMs: fc.oneof(fc.nat(50), fc.constant(Infinity)), removes: fc.nat(9) });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 1_500, minLength: 1_000 }), fc.nat(60), (actions, fromMs) => {
      const list = new DeadlineList<{ readonly id: number; readonly step: { readonly dueMs: number } }>();
      let plain: { readonly id: number; readonly step: { readonly dueMs: number } }[] = [];
      for (const [id, { dueMs, removes }] of actions.entries()) {
        const item = { id, step: { dueMs } };
        list.add(item);
        plain.push(item);
        const gone = removes < 3 ? plain[(id * 7) % plain.length] : undefined;
        if (gone === undefined) continue;
        list.remove(gone);
        plain = plain.filter((x) => x !== gone);
      }
      plain.sort((a, b) => (a.step.dueMs === b.step.dueMs ? a.id - b.id : a.step.dueMs < b.step.dueMs ? -1 : 1));
      expect(list.size).toBe(plain.length);
      expect(plain.map((_, i) => list.at(i))).toEqual(plain);
      const place = plain.findIndex(({ step }) => step.dueMs >= fromMs);
      expect(list.from(fromMs)).toBe(place < 0 ? plain.length : place);
    }),
    { numRuns: 20 },
  );
});
