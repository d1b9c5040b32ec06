// Every code of an error, with its cause and what to do: the pages of docs/errors/, the table of docs/errors.md and
// `selvedge explain` are made of it. Causes within a code are core/error-reasons.ts's. Not loaded on the page.
import type { ErrorCode } from "../core/errors.ts";

/** Cause of a code in a sentence or two, and what to do; Markdown. */
export interface CodeText {
  readonly cause: string;
  readonly fix: string;
}

/** Texts of all codes. */
export const CODES: Readonly<Record<ErrorCode, CodeText>> = {
  "setup-failed": {
    cause:
      "Selvedge's own files or the page's surroundings: a file that is not served, a header, a policy, a bundler. The developer mends it once for all users.",
    fix: "The message names the line to change.",
  },
  "no-backend": {
    cause: "The device has none of the backends asked for, or no variant fits. It is a limit of the user's device.",
    fix: 'Add a wasm variant, or allow `backends: ["wasm"]`. `details` names each variant and why it does not fit.',
  },
  "download-failed": {
    cause: "A file of a model could not be fetched; `details.url`, `details.status`, `details.reason`.",
    fix: "By reason: some pass by waiting, others need a change.",
  },
  "integrity-failed": {
    cause: "Bytes do not match their hash, or the bundle is not vouched for; `details.reason`.",
    fix: "Deploy the bundle anew as a whole. Turn off transformations by a CDN. With `trustedKeys`: sign it again.",
  },
  "bundle-invalid": {
    cause: "`bundle.json` breaks its schema, or is another file; `details` has the path.",
    fix: "Make it with `selvedge compress`, or check it with `selvedge inspect`.",
  },
  "model-invalid": {
    cause: "ONNX Runtime refuses the model, or it is no ONNX file.",
    fix: "Read the message: an HTML page where a model was expected shows a wrong address.",
  },
  "wrong-result": {
    cause:
      'The GPU answered the bundle\'s known input wrongly (golden check), and the model may not run on wasm: `backend: "webgpu"`, or no variant fits.',
    fix: "Leave `backend` out, or name another variant.",
  },
  "does-not-fit": {
    cause:
      "The model needs more memory than this device, this browser or the app's own bound allows, by prediction; nothing of its weights was fetched. `details.memoryBytes`, `details.reason`.",
    fix: "`details.fitting` names a variant that would fit. Ask `engine.availability` beforehand; pack a smaller variant.",
  },
  "out-of-memory": {
    cause: "The worker's memory did not suffice.",
    fix: "Use a smaller variant or smaller batches; unload other models.",
  },
  "quota-exceeded": {
    cause: "`engine.update` found no room; `details.missingBytes`. A load runs from memory instead.",
    fix: "Delete other models, or call `persist()`.",
  },
  "device-lost": {
    cause: "The GPU was lost again and again, and the request had no other backend.",
    fix: "Allow wasm as a fallback: leave `backend` out.",
  },
  "worker-crashed": {
    cause: "Workers ended, did not start or did not answer in time, again and again.",
    fix: "Raise `callTimeoutMs` for very slow models; `details` and `cause` have the last fault.",
  },
  "state-lost": {
    cause: "A recurrent state could not be rebuilt after its worker was lost.",
    fix: "Start a new state: `model.stateful()`.",
  },
  overloaded: {
    cause: "The queue is full: as many requests wait as `queue.maxSize` allows.",
    fix: "Send fewer requests, or raise `queue.maxSize`.",
  },
  "deadline-exceeded": {
    cause: "The request could not be, or was not, done within its `deadlineMs`.",
    fix: 'A longer `deadlineMs`, or `onLate: "finish"`.',
  },
  "remote-failed": {
    cause:
      "An inference server (`selvedge/remote`) gave no valid answer; `details.url`, `details.reason`, `details.status`, `details.attempts`.",
    fix: "By reason: some pass by waiting, others need a change. The message has the server's own words.",
  },
  closed: {
    cause: "The engine, the model or the state was closed before or while the call was made.",
    fix: "Close after the last answer; catch this code where a page may leave in the middle.",
  },
  internal: {
    cause: "ONNX Runtime failed during a run, or there is a fault in Selvedge.",
    fix: "Read the message: an index out of range, say, is the input's. Report the rest with a trace: `await engine.trace({ seconds: 5 })`.",
  },
};
