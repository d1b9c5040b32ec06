import { concatBytes } from "../../core/concat-bytes.ts";
import { afterEach, expect, test } from "vitest";
import { nameOf, number, SECTION, vector, writeBodies, writeSections } from "./sections.ts";
import { splitWasm } from "../../build/split.ts";
import { askForThreads, beThread } from "./threads.ts";
import type { ThreadScope } from "./threads.ts";

const open: MessagePort[] = [];
const { Worker: before } = globalThis;

afterEach(() => {
  for (const port of open.splice(0)) port.close();
  globalThis.Worker = before;
});

/** A module that exports `seven`, and imports nothing. */
function sevenModule(): Uint8Array {
  return writeSections([
    { id: SECTION.type, bytes: vector([Uint8Array.of(0x60, 0, 1, 0x7f)]) },
    { id: SECTION.function, bytes: vector([number(0)]) },
    { id: SECTION.table, bytes: vector([Uint8Array.of(0x70, 0, 1)]) },
    { id: SECTION.global, bytes: vector([]) },
    { id: SECTION.export, bytes: vector([concatBytes([nameOf("seven"), Uint8Array.of(0, 0)])]) },
    { id: SECTION.element, bytes: vector([]) },
    { id: SECTION.code, bytes: writeBodies([Uint8Array.of(0, 0x41, 7, 0x0b)]) },
  ]);
}

test("messages of ONNX Runtime's glue and its thread go through the port, and the thread links the rest itself", async () => {
  const { first, rest } = splitWasm(sevenModule(), "a", () => false);
  const ports: MessagePort[] = [];
  askForThreads(new WebAssembly.Module(rest), (port) => ports.push(port));
  const thread = new Worker("ignored.js");
  const scope = Object.assign(new EventTarget(), { onmessage: null, postMessage: () => undefined }) as ThreadScope &
    EventTarget;
  beThread(scope);
  const heard = new Promise((resolve) => {
    scope.onmessage = ({ data }) => {
      resolve(data);
    };
  });
  const answered = new Promise((resolve) => {
    thread.onmessage = ({ data }) => {
      resolve(data);
    };
  });
  const [port] = ports as [MessagePort];
  open.push(port);
  thread.postMessage({ cmd: "load", memory: new SharedArrayBuffer(8) });
  scope.dispatchEvent(new MessageEvent("message", { data: { port } }));
  expect(await heard).toMatchObject({ cmd: "load" });
  const { Instance } = WebAssembly;
  const { exports } = new Instance(new WebAssembly.Module(first));
  expect((exports["seven"] as () => number)()).toBe(7);
  expect(WebAssembly.Instance).not.toBe(Instance);
  scope.postMessage({ cmd: "loaded" });
  expect(await answered).toEqual({ cmd: "loaded" });
  thread.terminate();
});
