// Sources of a page: dropped, pasted, picked or photographed. Each ends in one callback with a file; only decoding
// shows whether it is a picture.
import { takeFiles } from "../take-files.ts";

/** Calls back with each picture from drop, paste or the file input. */
export function takePictures(input: HTMLInputElement, onPicture: (file: Blob) => void): void {
  takeFiles(input, ([picture]) => {
    onPicture(picture);
  });
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file !== undefined) onPicture(file);
  });
}

/** The parts of the camera dialog. */
export interface Camera {
  readonly open: HTMLButtonElement;
  readonly dialog: HTMLDialogElement;
  readonly video: HTMLVideoElement;
  readonly shoot: HTMLButtonElement;
  readonly close: HTMLButtonElement;
}

/** Calls back with each photograph: from the phone's own camera if it has one, else from a video in a dialog. */
export function takePhotographs(
  camera: Camera,
  onPicture: (file: Blob) => void,
  onError: (error: Error) => void,
): void {
  const isPhone = matchMedia("(pointer: coarse)").matches;
  const canFilm = typeof navigator.mediaDevices?.getUserMedia === "function";
  camera.open.hidden = !isPhone && !canFilm;
  camera.open.addEventListener("click", () => {
    if (isPhone) askPhone(onPicture);
    else startVideo(camera).catch(() => onError(new Error("No camera, or no permission to use it.")));
  });
  camera.shoot.addEventListener("click", () => {
    void grabFrame(camera.video).then((file) => {
      camera.dialog.close();
      if (file !== null) onPicture(file);
    });
  });
  camera.close.addEventListener("click", () => camera.dialog.close());
  camera.dialog.addEventListener("close", () => stopVideo(camera.video));
}

function askPhone(onPicture: (file: Blob) => void): void {
  const input = document.createElement("input");
  input.type = "file";
  input.accept = "image/*";
  input.setAttribute("capture", "environment");
  input.addEventListener("change", () => {
    const file = input.files?.[0];
    if (file !== undefined) onPicture(file);
  });
  input.click();
}

async function startVideo({ dialog, video }: Camera): Promise<void> {
  const video4k = { facingMode: "environment", width: { ideal: 3840 }, height: { ideal: 2160 } };
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: video4k });
  dialog.showModal();
}

function stopVideo(video: HTMLVideoElement): void {
  if (video.srcObject instanceof MediaStream) for (const track of video.srcObject.getTracks()) track.stop();
  video.srcObject = null;
}

function grabFrame(video: HTMLVideoElement): Promise<Blob | null> {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d")?.drawImage(video, 0, 0);
  return new Promise((resolve) => {
    canvas.toBlob(resolve, "image/jpeg", 0.95);
  });
}
