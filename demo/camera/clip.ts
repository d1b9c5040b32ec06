// A sample clip as a video stream, drawn while it plays: a moving face. For visitors without a camera, and for tests;
// BlazeFace detects the drawing as a face.

const WIDTH = 640;
const HEIGHT = 480;
const SKIN = ["#f0cdb0", "#d9a682", "#a8714f"] as const;

/** Starts the clip; it draws until its stream is stopped. */
export function startClip(): MediaStream {
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("This browser can't draw the clip.");
  drawClip(context, 0);
  const stream = canvas.captureStream(30);
  const began = performance.now();
  const draw = (): void => {
    if (!stream.active) return;
    drawClip(context, (performance.now() - began) / 1000);
    requestAnimationFrame(draw);
  };
  requestAnimationFrame(draw);
  return stream;
}

/** Draws the clip at a time, in seconds. */
function drawClip(context: CanvasRenderingContext2D, seconds: number): void {
  context.resetTransform();
  context.fillStyle = "#9fb3bd";
  context.fillRect(0, 0, WIDTH, HEIGHT);
  const size = 0.8 + 0.15 * Math.sin(seconds * 0.9);
  context.translate(WIDTH / 2 + 120 * Math.sin(seconds * 0.7), HEIGHT / 2 + 30 * Math.sin(seconds * 1.3));
  context.scale(size, size);
  context.translate(-320, -245);
  drawFace(context);
}

function drawFace(context: CanvasRenderingContext2D): void {
  const fill = (colour: string | CanvasGradient, path: string): void => {
    context.fillStyle = colour;
    context.fill(new Path2D(path));
  };
  const ellipse = (colour: string | CanvasGradient, x: number, y: number, width: number, height: number): void => {
    context.fillStyle = colour;
    context.beginPath();
    context.ellipse(x, y, width, height, 0, 0, 2 * Math.PI);
    context.fill();
  };
  const skin = context.createRadialGradient(300, 220, 0, 320, 245, 165);
  for (const [at, colour] of SKIN.entries()) skin.addColorStop([0, 0.7, 1][at] ?? 1, colour);
  fill("#354a63", "M200 480 Q210 400 320 390 Q430 400 440 480V800H200Z");
  fill("#c08f6c", "M285 330h70v80h-70Z");
  ellipse("#3a2a20", 320, 220, 112, 140);
  ellipse(skin, 320, 245, 98, 125);
  fill("#3a2a20", "M222 220 Q240 110 320 112 Q400 110 418 220 Q390 150 320 152 Q250 150 222 220Z");
  for (const x of [282, 358]) {
    ellipse("#fff", x, 232, 19, 10);
    ellipse("#2b1c14", x, 232, 9, 9);
  }
  context.strokeStyle = "#3a2a20";
  context.lineWidth = 8;
  context.stroke(new Path2D("M258 210 Q282 198 306 210 M334 210 Q358 198 382 210"));
  fill("#c48c66", "M320 235 Q312 275 304 285 Q320 296 336 285 Q328 275 320 235");
  fill("#a8473f", "M280 318 Q320 306 360 318 Q320 346 280 318Z");
}
