// Runs in a worker before Selvedge's own script, which its URL names: patches the platform below it, injects faults on
// request, and counts the resources that the worker holds. `saboteur.ts` is the page's side.
import type { HarmMessage, Held } from "./saboteur.ts";

const query = new URLSearchParams(self.location.hash.slice(1));
const { Memory } = WebAssembly;
const devices = new Set<GPUDevice>();
const memories = new Set<WebAssembly.Memory>();
let gpuBuffers = 0;
/** Fault for the next run, or for the first load. */
let waiting: HarmMessage["harm"] | null = null;
const hangsOnLoad = query.get("fault") === "hang-on-load";
/** Messages that arrived before Selvedge's script was listening. */
const early: MessageEvent<unknown>[] = [];
let isReady = false;

addEventListener("message", (event: MessageEvent<unknown>) => {
  const { data } = event;
  if (isHarm(data)) {
    event.stopImmediatePropagation();
    if (data.duringRun) waiting = data.harm;
    else act(data.harm);
  } else if (typeof data === "object" && data !== null && "count" in data) {
    event.stopImmediatePropagation();
    const wasmBytes = [...memories].reduce((sum, memory) => sum + memory.buffer.byteLength, 0);
    const held: Held = { gpuBuffers, wasmBytes };
    event.ports[0]?.postMessage(held);
  } else if (!isReady) {
    event.stopImmediatePropagation();
    early.push(event);
  } else if (hangsOnLoad && isCall(data, "load")) {
    act("hang");
  } else if (waiting !== null && isCall(data, "run")) {
    const harm = waiting;
    waiting = null;
    // GPU faults are injected once the run has submitted work; all others before the run.
    if (harm === "destroy" || harm === "invalid") afterSubmit(harm);
    else act(harm);
  }
});

watchGpu();
watchMemory();
await import(/* @vite-ignore */ query.get("script") ?? "");
isReady = true;
for (const { data, ports } of early) dispatchEvent(new MessageEvent("message", { data, ports: [...ports] }));

function act(harm: HarmMessage["harm"]): void {
  switch (harm) {
    case "close":
      self.close();
      break;
    case "throw":
      throw new Error("harmed");
    case "hang":
      for (;;);
    case "destroy":
      for (const device of devices) device.destroy();
      break;
    case "invalid":
      // A buffer without any usage is invalid: the device reports it to its error listeners only.
      for (const device of devices) device.createBuffer({ size: 4, usage: 0 });
      break;
    case "out-of-memory":
      Memory.prototype.grow = () => {
        throw new RangeError("WebAssembly.Memory.grow(): harmed");
      };
      break;
    case "kill":
    case "messageerror":
      break; // done by the page
  }
}

function afterSubmit(harm: "destroy" | "invalid"): void {
  for (const { queue } of devices) {
    const submit = queue.submit.bind(queue);
    queue.submit = (buffers) => {
      queue.submit = submit;
      submit(buffers);
      act(harm);
      return undefined;
    };
  }
}

function watchGpu(): void {
  if (typeof GPUAdapter === "undefined") return;
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (this: GPUAdapter, descriptor?: GPUDeviceDescriptor) {
    const device = await requestDevice.call(this, descriptor);
    devices.add(device);
    return device;
  };
  const { createBuffer } = GPUDevice.prototype;
  const { destroy } = GPUBuffer.prototype;
  const alive = new WeakSet<GPUBuffer>();
  GPUDevice.prototype.createBuffer = function (this: GPUDevice, descriptor: GPUBufferDescriptor) {
    const buffer = createBuffer.call(this, descriptor);
    alive.add(buffer);
    gpuBuffers += 1;
    return buffer;
  };
  GPUBuffer.prototype.destroy = function (this: GPUBuffer) {
    if (alive.delete(this)) gpuBuffers -= 1;
    destroy.call(this);
    return undefined;
  };
}

/** Tracks each memory that an instance exports or that was created here, and fails the first start if requested. */
function watchMemory(): void {
  WebAssembly.Memory = function (descriptor: WebAssembly.MemoryDescriptor) {
    const memory = new Memory(descriptor);
    memories.add(memory);
    return memory;
  } as unknown as typeof WebAssembly.Memory;
  WebAssembly.Memory.prototype = Memory.prototype;
  const { instantiate, instantiateStreaming } = WebAssembly;
  const remember = (result: WebAssembly.Instance | WebAssembly.WebAssemblyInstantiatedSource): void => {
    const { exports } = "instance" in result ? result.instance : result;
    for (const value of Object.values(exports)) if (value instanceof Memory) memories.add(value);
  };
  const failing = query.get("fault") === "no-wasm";
  const wrap = <
    Given extends unknown[],
    Result extends WebAssembly.Instance | WebAssembly.WebAssemblyInstantiatedSource,
  >(
    make: (...given: Given) => Promise<Result>,
  ): ((...given: Given) => Promise<Result>) => {
    return async (...given) => {
      if (failing) throw new WebAssembly.CompileError("harmed");
      const result = await make(...given);
      remember(result);
      return result;
    };
  };
  WebAssembly.instantiate = wrap(instantiate as (...given: unknown[]) => Promise<WebAssembly.Instance>) as never;
  WebAssembly.instantiateStreaming = wrap(instantiateStreaming);
}

function isHarm(data: unknown): data is HarmMessage {
  return typeof data === "object" && data !== null && "harm" in data;
}

/** Whether a message is Comlink's call of a name. */
function isCall(data: unknown, name: string): boolean {
  if (typeof data !== "object" || data === null || !("path" in data)) return false;
  return Array.isArray(data.path) && data.path[0] === name;
}
