// The page /camera/: frames of a camera, or of the sample clip, through the bundle "face", newest first. The video
// element is passed to `run`; on WebGPU its picture then stays on the GPU.
//
//   ?backend=webgpu|wasm   pins the backend
import { createEngine } from "selvedge";
import type { Model, RunResult } from "selvedge";
import { backendIn, find, Status } from "../status.ts";
import { startClip } from "./clip.ts";
import { facesOf } from "./faces.ts";
import type { Face } from "./faces.ts";
import { Newest, ratePerSecond } from "./newest.ts";
import type { FrameCounts } from "./newest.ts";

const SVG = "http://www.w3.org/2000/svg";
const status = new Status(find("status"), find("progress", HTMLProgressElement));
const cameraButton = find("camera", HTMLButtonElement);
const clipButton = find("clip", HTMLButtonElement);
const stopButton = find("stop", HTMLButtonElement);
const video = find("video", HTMLVideoElement);
const overlay = document.querySelector("#overlay") as SVGSVGElement;
const numbers = find("fps");
const faceCount = find("faces");
let stop: () => void = () => undefined;

/** Shows a stream and processes its frames until it is stopped. */
async function play(model: Model, stream: MediaStream): Promise<void> {
  const ends: number[] = [];
  let handle = 0;
  let isStopped = false;
  const end = (): void => {
    isStopped = true;
    video.cancelVideoFrameCallback(handle);
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
    find("stage").hidden = true;
    enable(true);
  };
  stop = () => {
    end();
    status.show("ready", "Stopped.");
  };
  const newest = new Newest<number>(async (beganMs) => {
    if (isStopped) return;
    const result = await model.run({ [model.inputs[0]?.name ?? ""]: video });
    if (isStopped) return;
    const nowMs = performance.now();
    ends.push(nowMs);
    showFaces(facesIn(result));
    showNumbers(ratePerSecond(ends, nowMs), nowMs - beganMs, result);
    showCounts(newest.counts);
  });
  const next = (nowMs: number): void => {
    handle = video.requestVideoFrameCallback(next);
    newest.offer(nowMs).catch((error: unknown) => {
      if (isStopped) return;
      end();
      fail(error);
    });
  };
  enable(false);
  video.srcObject = stream;
  find("stage").hidden = false;
  try {
    await video.play();
  } catch (error) {
    end();
    throw error;
  }
  const { videoWidth, videoHeight } = video;
  overlay.setAttribute("viewBox", `0 0 ${String(videoWidth)} ${String(videoHeight)}`);
  handle = video.requestVideoFrameCallback(next);
  status.show("running", `Running on ${model.backend}, ${model.variant}.`);
  stopButton.focus();
}

function facesIn({ outputs }: RunResult): Face[] {
  const values = (name: string): Float32Array => outputs[name]?.data as Float32Array;
  const layers = [
    { cells: 16, scores: values("Identity:0"), boxes: values("Identity_2:0") },
    { cells: 8, scores: values("Identity_1:0"), boxes: values("Identity_3:0") },
  ];
  return facesOf(layers, video.videoWidth, video.videoHeight);
}

function showFaces(faces: readonly Face[]): void {
  overlay.replaceChildren(
    ...faces.map(({ x, y, width, height }) => {
      const box = document.createElementNS(SVG, "rect");
      for (const [name, value] of Object.entries({ x, y, width, height, rx: width / 16 }))
        box.setAttribute(name, value.toFixed(1));
      return box;
    }),
  );
  const text = faces.length === 1 ? "One face." : `${faces.length === 0 ? "No" : String(faces.length)} faces.`;
  if (faceCount.textContent !== text) faceCount.textContent = text; // announced once, not once per frame
  faceCount.dataset["count"] = String(faces.length);
}

function showNumbers(rate: number, latencyMs: number, { info }: RunResult): void {
  numbers.dataset["fps"] = String(rate);
  find("rate").textContent = String(rate);
  find("latency").textContent = latencyMs.toFixed(0);
  find("ran").textContent = `${info.backend}, ${info.variant}`;
  status.set({ backend: info.backend, variant: info.variant });
}

function showCounts({ frames, dropped }: FrameCounts): void {
  numbers.dataset["frames"] = String(frames);
  numbers.dataset["dropped"] = String(dropped);
  find("dropped").textContent = `${String(dropped)} of ${String(frames + dropped)}`;
}

function enable(isIdle: boolean): void {
  cameraButton.disabled = !isIdle;
  clipButton.disabled = !isIdle;
  stopButton.disabled = isIdle;
}

function fail(error: unknown): void {
  status.show("error", error instanceof Error ? error.message : String(error));
}

/** Requests the camera; if it is denied, the error says what to do. */
async function openCamera(): Promise<MediaStream> {
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, facingMode: "user" } });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`No camera, or no permission to use it (${reason}). The sample clip works without one.`);
  }
}

try {
  const backend = backendIn(new URLSearchParams(location.search));
  const engine = await createEngine(backend === undefined ? {} : { backends: [backend] });
  const bundle = new URL("../models/face/bundle.json", document.baseURI).href;
  const model = await engine.load(bundle, {
    onProgress: ({ loadedBytes, totalBytes }) => {
      status.progress(totalBytes === null ? 0 : loadedBytes / totalBytes);
    },
  });
  const start = async (open: () => MediaStream | Promise<MediaStream>): Promise<void> => {
    enable(false);
    try {
      await play(model, await open());
    } catch (error) {
      enable(true);
      fail(error);
    }
  };
  cameraButton.addEventListener("click", () => void start(openCamera));
  clipButton.addEventListener("click", () => void start(startClip));
  stopButton.addEventListener("click", () => {
    stop();
    cameraButton.focus();
  });
  enable(true);
  status.show("ready", `Ready, on ${model.backend}.`);
} catch (error) {
  fail(error);
}
