// Code that runs in the page, as text: it is installed before the page's own scripts, and observes without changing what
// the page does. It lies in the page's global object under one name.

/** Name of the observer in the page. */
export const OBSERVER = "__selvedgeDoctor";
/** The observations; none in a page that may run no scripts. */
const SEEN = `(globalThis.${OBSERVER} ?? { workers: [], violations: [], errors: [], scriptErrors: [] })`;

/** Records workers, violations of the content security policy, errors of the engine, and syntax errors of scripts. */
export const OBSERVE = `(() => {
  const MARK = Symbol.for("selvedge.error");
  const seen = { workers: [], violations: [], errors: [], scriptErrors: [] };
  const known = new WeakMap();
  const entry = (value, isHandled) => {
    const { code, name, message, details, help } = value;
    const reason = details && typeof details.reason === "string" ? details.reason : null;
    const url = details && typeof details.url === "string" ? details.url : null;
    const shown = { code: String(code || name), message: String(message), reason, url, help: help || null, isHandled };
    known.set(value, shown);
    seen.errors.push(shown);
  };
  const note = (value) => {
    if (typeof value !== "object" || value === null) return;
    const before = known.get(value);
    if (before) before.isHandled = false;
    else if (MARK in value) entry(value, false);
  };
  // The package calls it with each error that a call of the page rejects with, whatever the page does with it.
  Object.defineProperty(globalThis, Symbol.for("selvedge.doctor"), {
    value: (error) => {
      const isError = typeof error === "object" && error !== null && !known.has(error);
      if (isError && (MARK in error || error instanceof TypeError || error instanceof RangeError)) entry(error, true);
    },
  });
  addEventListener("error", (event) => {
    note(event.error);
    if (event.error instanceof SyntaxError && event.filename)
      seen.scriptErrors.push({ url: event.filename, line: event.lineno, message: String(event.error) });
  });
  addEventListener("unhandledrejection", (event) => note(event.reason));
  for (const level of ["error", "warn", "log", "info"]) {
    const write = console[level];
    console[level] = function (...words) {
      for (const word of words) note(word);
      return write.apply(this, words);
    };
  }
  document.addEventListener("securitypolicyviolation", (event) => {
    seen.violations.push({
      directive: event.effectiveDirective,
      blocked: event.blockedURI,
      policy: event.originalPolicy,
      isReportOnly: event.disposition === "report",
    });
  });
  if (typeof Worker === "function") {
    globalThis.Worker = new Proxy(Worker, {
      construct(target, words, made) {
        const start = { url: "", name: String((words[1] && words[1].name) || ""), hasFailed: false, hasSpoken: false };
        try {
          start.url = new URL(String(words[0]), document.baseURI).href;
        } catch {
          start.url = String(words[0]);
        }
        if (start.name !== "em-pthread") seen.workers.push(start);
        let worker;
        try {
          worker = Reflect.construct(target, words, made);
        } catch (error) {
          start.thrown = String(error);
          throw error;
        }
        worker.addEventListener("error", (event) => {
          if (!event.message && !start.hasSpoken) start.hasFailed = true;
        });
        worker.addEventListener("message", () => {
          start.hasSpoken = true;
        });
        return worker;
      },
    });
  }
  Object.defineProperty(globalThis, ${JSON.stringify(OBSERVER)}, { value: seen, enumerable: false });
})();`;

/** Returns the observations, and what the page is, as an object: a page may have replaced `JSON`. */
export const READ = `(async () => {
  let wasmRefusal = null;
  try {
    await WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));
  } catch (error) {
    wasmRefusal = String(error);
  }
  let worker = null;
  try {
    worker = navigator.serviceWorker && navigator.serviceWorker.controller;
  } catch {} // a sandboxed document
  return {
    ...${SEEN},
    hasStarted: ${SEEN}.workers.some((x) => x.name === "selvedge"),
    isSecureContext: globalThis.isSecureContext,
    isIsolated: globalThis.crossOriginIsolated === true,
    resources: performance.getEntriesByType("resource").map((entry) => entry.name),
    wasmRefusal,
    serviceWorker: worker ? worker.scriptURL : null,
  };
})()`;

/** Whether an engine was started, or has failed before it started a worker. */
export const HAS_ENGINE = `(() => {
  const { workers, errors } = ${SEEN};
  return workers.some((x) => x.name === "selvedge") || errors.length > 0;
})()`;

/** Whether an engine was started and has not failed. */
export const IS_PENDING = `(() => {
  const { workers, errors } = ${SEEN};
  return workers.some((x) => x.name === "selvedge" && x.hasSpoken) && errors.length === 0;
})()`;

/** Whether the page has registered a service worker; waits until it is active. */
export const SERVICE_WORKER_READY = `(async () => {
  try {
    if (!navigator.serviceWorker) return false;
  } catch {
    return false; // a sandboxed document
  }
  const registrations = await navigator.serviceWorker.getRegistrations();
  if (registrations.length === 0) return false;
  const late = new Promise((resolve) => setTimeout(resolve, 5000));
  await Promise.race([navigator.serviceWorker.ready, late]);
  return true;
})()`;

/** Starts a worker as Selvedge does, and waits for the script to load or to fail. */
export function probeWorker(url: string): string {
  return `(() => {
    let worker;
    try {
      worker = new Worker(${JSON.stringify(url)}, { type: "module", name: "selvedge" });
    } catch {
      return false;
    }
    return new Promise((resolve) => {
      worker.onerror = () => resolve(false);
      setTimeout(() => resolve(true), 1500);
    }).finally(() => worker.terminate());
  })()`;
}
