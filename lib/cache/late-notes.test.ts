import { expect, test } from "vitest";
import { LateNotes } from "./late-notes.ts";

/** Notes, and timers that the test ends. */
function openNotes() {
  const timers = new Map<() => void, number>();
  const notes = new LateNotes({
    setTimer(call, ms) {
      timers.set(call, ms);
      return () => timers.delete(call);
    },
  });
  return { notes, timers };
}

test("a note is written after a second, once, whatever becomes of it", async () => {
  const { notes, timers } = openNotes();
  let written = 0;
  notes.add(() => {
    written += 1;
    return Promise.reject(new Error("the store failed"));
  });
  expect([...timers.values()]).toEqual([1_000]);
  for (const call of timers.keys()) call();
  await notes.flush();
  await notes.flush();
  expect(written).toBe(1);
});

test("a flush writes what waits, without its timer, and waits for what is being written (store-late)", async () => {
  const { notes, timers } = openNotes();
  const events: string[] = [];
  let finish = (): void => undefined;
  notes.add(async () => {
    events.push("first begins");
    await new Promise<void>((resolve) => {
      finish = resolve;
    });
    events.push("first ends");
  });
  for (const call of timers.keys()) call();
  notes.add(() => Promise.resolve(void events.push("second")));
  const flushed = notes.flush().then(() => void events.push("flushed"));
  expect(timers.size).toBe(0);
  await Promise.resolve();
  finish();
  await flushed;
  expect(events).toEqual(["first begins", "second", "first ends", "flushed"]);
});
