// Draws the probabilities: a bar for each chunk, the newest at the right, and a line at the threshold. Colours are the
// canvas's own, by role: bars in `color`, the line in `border-color`.

const BAR_PX = 3;

/** Draws the newest probabilities, as many as fit. */
export function draw(canvas: HTMLCanvasElement, probabilities: readonly number[], threshold: number): void {
  const scale = devicePixelRatio;
  const { clientWidth, clientHeight } = canvas;
  canvas.width = Math.round(clientWidth * scale);
  canvas.height = Math.round(clientHeight * scale);
  const context = canvas.getContext("2d");
  if (context === null) return;
  context.scale(scale, scale);
  const { color, borderTopColor } = getComputedStyle(canvas);
  context.fillStyle = color;
  const shown = probabilities.slice(-Math.floor(clientWidth / BAR_PX));
  for (const [i, probability] of shown.entries()) {
    context.globalAlpha = probability > threshold ? 1 : 0.45;
    const height = Math.max(1, probability * clientHeight);
    context.fillRect(i * BAR_PX, clientHeight - height, BAR_PX - 1, height);
  }
  context.globalAlpha = 1;
  context.fillStyle = borderTopColor;
  context.fillRect(0, Math.round((1 - threshold) * clientHeight), clientWidth, 1);
}
