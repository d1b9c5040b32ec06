// The page /ocr/: connects the sources (intake.ts) to the reader and the reader to the view (view.ts), and updates the
// status. A new picture cancels the one being read: the latest wins.
//
//   ?backend=wasm|webgpu   pins every model      ?variant=f32|int8   pins the recogniser
//   ?log=verbose           reports where operators run, in `data-assignment` of the status
import { takePhotographs, takePictures } from "./intake.ts";
import { createReader } from "./reader.ts";
import type { Reader, Reading } from "./reader.ts";
import { clear, showPicture, showReading, textOf } from "./view.ts";
import { backendIn, find, Status } from "../status.ts";

const query = new URLSearchParams(location.search);
const status = new Status(find("status"), find("progress", HTMLProgressElement));
const places = { result: find("result"), figure: find("page"), lines: find("lines"), stages: find("stages") };

let reader: Reader | null = null;
let reading: Reading | null = null;
let waiting: Blob | null = null;
let stop: AbortController | null = null;

/** Reads the latest picture; called when one arrives and when the reader is free again. */
async function next(): Promise<void> {
  if (waiting === null || reader === null || stop !== null) return;
  const file = waiting;
  waiting = null;
  stop = new AbortController();
  try {
    reading = null;
    showPicture(places, file);
    status.show("busy", "Reading the page …");
    const read = await reader.read(file, stop.signal);
    reading = read;
    showReading(places, read);
    describe(reader);
    const { length } = read.lines;
    status.show(
      "done",
      length === 0 ? "There is no text on this page." : `Read ${length} line${length === 1 ? "" : "s"}.`,
    );
  } catch (error) {
    if (!stop.signal.aborted) fail(error);
  } finally {
    stop = null;
  }
  await next();
}

function take(file: Blob): void {
  waiting = file;
  if (reader !== null) status.show("busy", "Reading the page …");
  stop?.abort(new DOMException("Replaced by another picture.", "AbortError"));
  void next();
}

function fail(error: unknown): void {
  clear(places);
  status.show("error", error instanceof Error ? error.message : String(error));
}

/** Shows in the status where the recogniser runs, for people and for tests. */
function describe({ detector, recogniser }: Reader): void {
  status.set({ backend: recogniser.backend, variant: recogniser.variant });
  if (query.get("log") !== "verbose") return;
  const assignment = { "ocr-det": detector.assignment, "ocr-rec": recogniser.assignment };
  status.set({ assignment: JSON.stringify(assignment) });
}

async function takeSample(): Promise<void> {
  const response = await fetch(new URL("./sample.jpg", import.meta.url));
  if (!response.ok) throw new Error(`The sample page could not be downloaded (${response.status}).`);
  take(await response.blob());
}

takePictures(find("file", HTMLInputElement), take);
takePhotographs(
  {
    open: find("camera", HTMLButtonElement),
    dialog: find("viewfinder", HTMLDialogElement),
    video: find("video", HTMLVideoElement),
    shoot: find("shoot", HTMLButtonElement),
    close: find("close-camera", HTMLButtonElement),
  },
  take,
  fail,
);
find("sample").addEventListener("click", () => void takeSample().catch(fail));
find("overlay").addEventListener("change", () => places.figure.classList.toggle("with-text"));
find("copy").addEventListener("click", () => {
  if (reading === null) return;
  navigator.clipboard.writeText(textOf(reading)).then(
    () => status.say("Copied."),
    () => status.say("The browser denied access to the clipboard."),
  );
});

try {
  reader = await createReader({
    backend: backendIn(query),
    variant: query.get("variant") ?? undefined,
    verbose: query.get("log") === "verbose",
    onProgress: (share) => status.progress(share),
  });
  describe(reader);
  const { recogniser } = reader;
  status.show("ready", `Ready: ${recogniser.name} ${recogniser.variant} on ${recogniser.backend}.`);
  await next();
} catch (error) {
  fail(error);
}
